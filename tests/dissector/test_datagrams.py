"""The Wireshark dissector: the beacon, sealed and opened, and what belongs to other dissectors; by real tshark."""

import struct

from crust.discovery.beacon_packet import Announcement, Kind, Message, Seal, beacon_key
from crust.identity import PeerId
from crust.transport.pcapng import udp_packet
from crust.transport.utp import packet as utp
from tests.dissector.captures import KEYS, Capture, Tshark

NODE = ("192.0.2.1", 5483)
OTHER = ("192.0.2.2", 41000)
PEER = PeerId(bytes(range(32)))
SEAL = Seal(KEYS)
KEY = beacon_key(KEYS).hex()


def beacons() -> Capture:
    """One of each kind."""
    capture = Capture()
    for kind in Kind:
        message = Message(kind, b"g" * 16, Announcement(PEER, 1234 * (kind > 1), 5678), b"tokentok", b"echoecho")
        capture.datagram(OTHER, NODE, SEAL.close(message))
    return capture


def test_the_outside_of_a_beacon(tshark: Tshark) -> None:
    capture = Capture()
    datagram = SEAL.close(Message(Kind.ASK, b"g" * 16, Announcement(PEER, 1, 2), b"tokentok"))
    capture.datagram(OTHER, NODE, datagram)
    names = ["crust.beacon.nonce", "crust.beacon.sealed", "crust.beacon.tag", "crust.beacon.kind", "_ws.col.Info"]
    parts = [datagram[:24].hex()], [datagram[24:104].hex()], [datagram[104:].hex()]
    assert tshark.fields(capture, names) == [[*parts, [], ["Beacon (sealed)"]]]
    assert tshark.remarks(capture) == [["sealed with the key of the network: see the preference beacon_key"]]
    wrong = ["-o", f"crust.beacon_key:{KEY[:-1]}{'0' if KEY[-1] != '0' else '1'}"]
    assert tshark.remarks(capture, *wrong) == [["sealed, and not with the key of the preferences"]]


def test_the_inside_of_a_beacon(tshark: Tshark) -> None:
    names = ["crust.beacon.version", "crust.beacon.kind", "crust.beacon.tcp", "crust.beacon.utp"]
    names += ["crust.beacon.guid", "crust.beacon.peer", "crust.beacon.token", "crust.beacon.echo", "_ws.col.Info"]
    rows = tshark.fields(beacons(), names, "-o", f"crust.beacon_key:{KEY}")
    rest = [b"g" * 16], [bytes(PEER)], [b"tokentok"], [b"echoecho"]
    assert rows == [
        [
            ["1"],
            [str(kind.value)],
            [str(1234 * (kind > 1))],
            ["5678"],
            *([value.hex() for value in values] for values in rest),
            [f"Beacon {kind.name} from {PEER}{' tcp:1234' * (kind > 1)} utp:5678"],
        ]
        for kind in Kind
    ]


def test_what_belongs_to_others(tshark: Tshark) -> None:
    capture = Capture()
    capture.datagram(OTHER, NODE, struct.pack(">HHI", 1, 0, 0x2112A442) + b"t" * 12)
    capture.datagram(NODE, OTHER, utp.encode(utp.Packet(utp.PacketType.SYN, 1, 2, 3, 4, 5, 6, b"", None, b"")))
    capture.datagram(OTHER, NODE, b"something else")
    names = ["_ws.col.Protocol"]
    assert tshark.fields(capture, names, "--enable-heuristic", "bt_utp_udp") == [[["STUN"]], [["BT-uTP"]], [["UDP"]]]
    assert tshark.fields(capture, names) == [[["STUN"]], [["CRUST"]], [["UDP"]]]
    assert "--enable-heuristic bt_utp_udp" in tshark.run(capture, "-O", "crust_udp")


def test_other_ports(tshark: Tshark) -> None:
    capture = Capture()
    stun = struct.pack(">HHI", 1, 0, 0x2112A442) + b"t" * 12
    capture.datagram(("192.0.2.1", 2000), ("192.0.2.2", 2001), b"\x31" + stun[1:] + bytes(3))
    capture.datagram(
        ("192.0.2.1", 2000),
        ("192.0.2.2", 2001),
        SEAL.close(Message(Kind.ASK, b"g" * 16, Announcement(PEER, 1, 2), b"tokentok")),
    )
    for options, seen in (([], 0), (["-o", "crust.beacon_ports:2000-2001"], 1), (["-o", "crust.udp_ports:2001"], 1)):
        assert tshark.values(capture, "_ws.col.Info", *options).count("Beacon (sealed)") == seen


def test_cut_off_beacons(tshark: Tshark) -> None:
    capture = Capture()
    for snap in (28, 40, 100, 147):
        other = beacons()
        capture.add(other)
        capture.packet(udp_packet(OTHER, NODE, bytes(120)), snap)
    infos = tshark.info(capture, "-o", f"crust.beacon_key:{KEY}")
    assert [info.startswith("Beacon ") for info in infos].count(True) == 20
