"""The NAT without devices: what leaves for what comes. It needs no lab."""

import dataclasses
import itertools
import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.tun_nat_core import Leaving, Nat, Side, Wire
from tests.lab.tun_nat_packet import (
    ACK,
    ECHO_REPLY,
    ECHO_REQUEST,
    FIN,
    ICMP,
    RST,
    SYN,
    TCP,
    TIME_EXCEEDED,
    UDP,
    UNREACHABLE,
    Packet,
    answer,
    checksum,
    datagram,
    echo,
    error_about,
    segment,
)
from tests.lab.tun_nat_table import Allocation, Behaviour, Dependence

NOW = 100.0
OUTER = "11.1.1.2"


def end(host: str, port: int) -> bytes:
    return socket.inet_aton(host) + port.to_bytes(2, "big")


PC, PC_B = end("192.168.2.2", 5000), end("192.168.2.3", 5000)
SERVER, SAME_HOST, STRANGER = end("11.1.1.10", 80), end("11.1.1.10", 81), end("11.1.1.11", 80)


@pytest.fixture(autouse=True)
def possible() -> None:
    """In place of the lab's fixture of this name: nothing is skipped here."""


def nat(**behaviour: object) -> Nat:
    kind = Behaviour(**behaviour)  # type: ignore[arg-type]
    return Nat(kind, socket.inet_aton(OUTER), socket.inet_aton("192.168.2.1"), seed=7)


def whole(packet: bytes | bytearray) -> Packet:
    """The packet, whose checksums are right."""
    parsed = Packet.parse(bytes(packet))
    assert parsed is not None
    data, body = bytes(parsed.data), parsed.body
    assert checksum(data[:body]) == 0
    pseudo = b"" if parsed.protocol == ICMP else data[12:20] + struct.pack("!HH", parsed.protocol, len(data) - body)
    assert checksum(pseudo + data[body:]) == 0
    return parsed


def passed(box: Nat, side: Side, packet: bytes, now: float = NOW) -> Packet | None:
    """What arrives on the other side."""
    leaving = box.handle(side, packet, now)
    if leaving is None:
        return None
    assert leaving.side is not side
    return whole(leaving.packet)


def udp_out(box: Nat, source: bytes, to: bytes, now: float = NOW) -> bytes:
    """Send; where it is seen to come from."""
    seen = passed(box, Side.INSIDE, datagram(UDP, source, to, b"hello"), now)
    assert seen is not None
    assert (seen.destination, bytes(seen.data[28:])) == (to, b"hello")
    return seen.source


def udp_in(box: Nat, source: bytes, to: bytes, now: float = NOW) -> bytes | None:
    """Send from outside; to whom it is delivered."""
    arrived = passed(box, Side.OUTSIDE, datagram(UDP, source, to, b"hello"), now)
    assert arrived is None or arrived.source == source
    return None if arrived is None else arrived.destination


@given(
    st.sampled_from([TCP, UDP]),
    st.binary(min_size=6, max_size=6),
    st.binary(min_size=6, max_size=6),
    st.binary(min_size=6, max_size=6),
    st.binary(max_size=40),
)
def test_checksums_stay_right(protocol: int, source: bytes, to: bytes, other: bytes, payload: bytes) -> None:
    packet = whole(datagram(protocol, source, to, bytes(20) + payload))
    packet.source = other
    assert whole(packet.data).source == other
    packet.destination = source
    assert whole(packet.data).destination == source
    assert packet.hop()
    whole(packet.data)


def test_a_wrong_checksum_stays_wrong() -> None:
    broken = bytearray(datagram(UDP, PC, SERVER, b"hello"))
    broken[-1] ^= 1
    leaving = nat().handle(Side.INSIDE, bytes(broken), NOW)
    assert leaving is not None
    with pytest.raises(AssertionError):
        whole(leaving.packet)


def test_a_datagram_without_a_checksum_has_none_afterwards() -> None:
    bare = bytearray(datagram(UDP, PC, SERVER, b"hello"))
    bare[26:28] = b"\0\0"
    leaving = nat().handle(Side.INSIDE, bytes(bare), NOW)
    assert leaving is not None
    assert leaving.packet[26:28] == b"\0\0"


@given(st.binary(max_size=80), st.sampled_from(Side))
def test_garbage_goes_nowhere_and_breaks_nothing(data: bytes, side: Side) -> None:
    box = nat(hairpin=True, answers=True)
    box.handle(side, data, NOW)
    box.handle(side, b"\x45" + data[1:], NOW)
    assert udp_out(box, PC, SERVER)


@given(st.integers(0, 43), st.integers(0, 255), st.sampled_from(Side))
def test_a_changed_byte_breaks_nothing(at: int, value: int, side: Side) -> None:
    box = nat(hairpin=True, answers=True)
    port = udp_out(box, PC, SERVER)
    about = whole(datagram(UDP, port, SERVER, b"x"))
    error = error_about(about, UNREACHABLE, 3, SERVER[:4])
    assert error is not None
    box.handle(side, error[:at] + bytes([value]) + error[at + 1 :], NOW)


def test_fragments_and_other_protocols_are_dropped() -> None:
    fragment = bytearray(datagram(UDP, PC, SERVER, b"hello"))
    fragment[6] |= 0x20
    assert nat().handle(Side.INSIDE, bytes(fragment), NOW) is None
    other = bytearray(datagram(UDP, PC, SERVER, b"hello"))
    other[9] = 47
    assert nat().handle(Side.INSIDE, bytes(other), NOW) is None


@pytest.mark.parametrize("kind", list(Dependence))
def test_mapping(kind: Dependence) -> None:
    box = nat(mapping=kind)
    outer = udp_out(box, PC, SERVER)
    assert outer[:4] == socket.inet_aton(OUTER)
    assert udp_out(box, PC, SERVER) == outer
    assert (udp_out(box, PC, SAME_HOST) == outer) == (kind is not Dependence.PORT)
    assert (udp_out(box, PC, STRANGER) == outer) == (kind is Dependence.NONE)
    assert udp_out(box, PC_B, SERVER) != outer


@pytest.mark.parametrize("kind", list(Dependence))
def test_filtering(kind: Dependence) -> None:
    box = nat(filtering=kind)
    outer = udp_out(box, PC, SERVER)
    assert udp_in(box, SERVER, outer) == PC
    assert (udp_in(box, SAME_HOST, outer) == PC) == (kind is not Dependence.PORT)
    assert (udp_in(box, STRANGER, outer) == PC) == (kind is Dependence.NONE)
    assert udp_in(box, SERVER, end(OUTER, 1)) is None


def port_of(endpoint: bytes) -> int:
    return int.from_bytes(endpoint[4:], "big")


def test_ports_that_are_kept() -> None:
    box = nat(allocation=Allocation.PRESERVING)
    assert port_of(udp_out(box, PC, SERVER)) == 5000
    assert port_of(udp_out(box, PC_B, SERVER)) != 5000


@pytest.mark.parametrize("step", [1, 2, -3])
def test_ports_that_are_counted(step: int) -> None:
    box = nat(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL, step=step)
    ports = [port_of(udp_out(box, PC, end("11.1.1.10", port))) for port in range(80, 90)]
    assert {later - earlier for earlier, later in itertools.pairwise(ports)} == {step}


def test_counted_ports_leave_out_the_low_ones() -> None:
    box = nat(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL, step=20_000)
    assert min(port_of(udp_out(box, PC, end("11.1.1.10", port))) for port in range(1, 200)) >= 1024


def test_random_ports() -> None:
    box = nat(mapping=Dependence.PORT)
    ports = [port_of(udp_out(box, PC, end("11.1.1.10", port))) for port in range(1, 200)]
    assert len(set(ports)) == len(ports)
    assert min(ports) >= 1024
    assert max(ports) - min(ports) > 32_768


def test_a_nat_that_is_full_drops() -> None:
    box = nat(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL)
    sent = [box.handle(Side.INSIDE, datagram(UDP, PC, end("11.1.1.10", 1), b""), NOW)]
    box.table._by_outer.update(  # as if all other ports were taken
        {(UDP, end(OUTER, port)): next(iter(box.table._by_outer.values())) for port in range(1024, 65_536)}
    )
    sent.append(box.handle(Side.INSIDE, datagram(UDP, PC, end("11.1.1.10", 2), b""), NOW))
    assert [leaving is None for leaving in sent] == [False, True]


def test_a_mapping_ends_after_its_time_without_packets() -> None:
    box = nat(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL, udp_lifetime=30.0)
    outer = udp_out(box, PC, SERVER)
    assert udp_out(box, PC, SERVER, NOW + 29) == outer
    assert udp_in(box, SERVER, outer, NOW + 58) == PC
    assert udp_in(box, SERVER, outer, NOW + 87) == PC
    assert udp_in(box, SERVER, outer, NOW + 118) is None
    assert udp_out(box, PC, SERVER, NOW + 118) != outer


def test_what_comes_in_need_not_keep_a_mapping() -> None:
    box = nat(udp_lifetime=30.0, inbound_refreshes=False)
    outer = udp_out(box, PC, SERVER)
    assert udp_in(box, SERVER, outer, NOW + 29) == PC
    assert udp_in(box, SERVER, outer, NOW + 31) is None


def test_who_is_not_sent_to_any_more_is_forgotten() -> None:
    box = nat(udp_lifetime=30.0)
    outer = udp_out(box, PC, SERVER)
    for later in (20, 40):
        assert udp_out(box, PC, STRANGER, NOW + later) == outer
    assert udp_in(box, SERVER, outer, NOW + 45) is None
    assert udp_in(box, STRANGER, outer, NOW + 45) == PC


def test_what_is_over_is_thrown_away() -> None:
    box = nat(mapping=Dependence.PORT, udp_lifetime=1.0)
    for number in range(1_500):
        udp_out(box, PC, end("11.1.1.10", 1 + number), NOW + number)
    assert len(box.table) < 600


def tcp(box: Nat, side: Side, source: bytes, to: bytes, flags: int, now: float = NOW) -> Packet | None:
    return passed(box, side, segment(source, to, flags), now)


def opened(box: Nat) -> bytes:
    """A connection from `PC` to `SERVER`; its outer endpoint."""
    seen = tcp(box, Side.INSIDE, PC, SERVER, SYN)
    assert seen is not None
    outer = seen.source
    assert tcp(box, Side.OUTSIDE, SERVER, outer, SYN | ACK)
    assert tcp(box, Side.INSIDE, PC, SERVER, ACK)
    return outer


def test_an_open_connection_lives_long_and_one_that_never_opened_does_not() -> None:
    box = nat()
    outer = opened(box)
    assert tcp(box, Side.OUTSIDE, SERVER, outer, ACK, NOW + 7000)
    assert tcp(box, Side.INSIDE, PC, STRANGER, SYN)
    assert tcp(box, Side.OUTSIDE, STRANGER, outer, SYN | ACK, NOW + 241) is None


def test_tcp_begins_with_a_syn() -> None:
    box = nat(filtering=Dependence.NONE)
    assert tcp(box, Side.INSIDE, PC, SERVER, ACK) is None
    outer = opened(box)
    assert tcp(box, Side.OUTSIDE, STRANGER, outer, ACK) is None
    assert tcp(box, Side.OUTSIDE, STRANGER, outer, SYN)
    assert tcp(box, Side.INSIDE, PC, STRANGER, SYN | ACK)


def test_a_simultaneous_open_passes() -> None:
    left, right = nat(), nat()
    ours, theirs = (tcp(box, Side.INSIDE, PC, SERVER, SYN) for box in (left, right))
    assert ours is not None
    assert theirs is not None
    assert tcp(left, Side.INSIDE, PC, STRANGER, SYN)
    assert tcp(left, Side.OUTSIDE, STRANGER, ours.source, SYN)
    assert tcp(left, Side.INSIDE, PC, STRANGER, SYN | ACK)
    assert tcp(left, Side.OUTSIDE, STRANGER, ours.source, ACK)


@pytest.mark.parametrize("side", list(Side))
def test_a_reset_ends_a_connection_but_not_a_shared_mapping(side: Side) -> None:
    box = nat()
    outer = opened(box)
    reset = (PC, SERVER) if side is Side.INSIDE else (SERVER, outer)
    assert tcp(box, side, *reset, RST)
    assert tcp(box, Side.OUTSIDE, SERVER, outer, SYN) is None
    again = tcp(box, Side.INSIDE, PC, SERVER, SYN, NOW + 9)
    assert again is not None
    assert again.source == outer


def test_a_reset_ends_a_mapping_of_its_own() -> None:
    box = nat(mapping=Dependence.PORT, allocation=Allocation.SEQUENTIAL)
    outer = opened(box)
    assert tcp(box, Side.INSIDE, PC, SERVER, RST)
    again = tcp(box, Side.INSIDE, PC, SERVER, SYN)
    assert again is not None
    assert port_of(again.source) == port_of(outer) + 1


def test_a_connection_that_both_ended_lives_on_for_a_moment() -> None:
    box = nat()
    outer = opened(box)
    assert tcp(box, Side.INSIDE, PC, SERVER, FIN | ACK)
    assert tcp(box, Side.OUTSIDE, SERVER, outer, FIN | ACK, NOW + 3000)
    assert tcp(box, Side.INSIDE, PC, SERVER, ACK, NOW + 3009)
    assert tcp(box, Side.INSIDE, PC, SERVER, ACK, NOW + 3020) is None


@pytest.mark.parametrize("answers", [False, True])
def test_what_comes_unasked(answers: bool) -> None:
    box = nat(answers=answers)
    here = end(OUTER, 7)
    for packet in (datagram(UDP, SERVER, here, b"x"), segment(SERVER, here, SYN), echo(SERVER, here, ECHO_REQUEST, 9)):
        leaving = box.handle(Side.OUTSIDE, packet, NOW)
        assert (leaving is not None) == answers
        if leaving is None:
            continue
        assert leaving.side is Side.OUTSIDE
        said = whole(leaving.packet)
        assert said.data[12:20] == here[:4] + SERVER[:4]
    assert box.counters["unasked"] == 3


def test_the_reset_fits_the_segment() -> None:
    said = answer(whole(segment(SERVER, end(OUTER, 7), SYN, number=0xFFFFFFFF)))
    assert said is not None
    reset = whole(said)
    assert (reset.source, reset.destination, reset.flags) == (end(OUTER, 7), SERVER, RST | ACK)
    assert bytes(reset.data[24:32]) == bytes(8)  # its acknowledgement went past 2**32
    said = answer(whole(segment(SERVER, end(OUTER, 7), ACK, acknowledged=55)))
    assert said is not None
    assert bytes(said[24:28]) == (55).to_bytes(4, "big")
    assert answer(whole(segment(SERVER, end(OUTER, 7), RST))) is None


def test_no_error_about_an_error() -> None:
    error = error_about(whole(datagram(UDP, SERVER, end(OUTER, 7), b"")), UNREACHABLE, 3, SERVER[:4])
    assert error is not None
    assert error_about(whole(error), UNREACHABLE, 3, SERVER[:4]) is None


def test_the_router_itself_answers_inside() -> None:
    box = nat()
    gateway = end("192.168.2.1", 5351)
    for packet in (datagram(UDP, PC, gateway, b"x"), segment(PC, gateway, SYN), echo(PC, gateway, ECHO_REQUEST, 9)):
        leaving = box.handle(Side.INSIDE, packet, NOW)
        assert leaving is not None
        assert leaving.side is Side.INSIDE
        assert whole(leaving.packet).data[12:20] == gateway[:4] + PC[:4]


def test_broadcasts_stay_inside() -> None:
    for host in ("255.255.255.255", "224.0.0.251"):
        assert nat().handle(Side.INSIDE, datagram(UDP, PC, end(host, 5353), b"x"), NOW) is None


@pytest.mark.parametrize(("hairpin", "filtering", "arrives"), [
    (False, Dependence.NONE, False),
    (True, Dependence.NONE, True),
    (True, Dependence.PORT, False),
])  # fmt: skip
def test_hairpin(hairpin: bool, filtering: Dependence, arrives: bool) -> None:
    box = nat(hairpin=hairpin, filtering=filtering)
    first, second = udp_out(box, PC, SERVER), udp_out(box, PC_B, SERVER)
    leaving = box.handle(Side.INSIDE, datagram(UDP, PC, second, b"x"), NOW)
    assert (leaving is not None) == arrives
    if leaving is not None:
        assert leaving.side is Side.INSIDE
        delivered = whole(leaving.packet)
        assert (delivered.source, delivered.destination) == (first, PC_B)


def test_hairpin_when_both_have_sent() -> None:
    box = nat(hairpin=True)
    first, second = udp_out(box, PC, SERVER), udp_out(box, PC_B, SERVER)
    assert box.handle(Side.INSIDE, datagram(UDP, PC, second, b"x"), NOW) is None
    leaving = box.handle(Side.INSIDE, datagram(UDP, PC_B, first, b"x"), NOW)
    assert leaving is not None
    assert whole(leaving.packet).destination == PC


def test_a_hairpin_nobody_asked_for_is_refused_where_it_came_from() -> None:
    box = nat(hairpin=True, answers=True)
    leaving = box.handle(Side.INSIDE, segment(PC, end(OUTER, 7), SYN), NOW)
    assert leaving is not None
    refusal = whole(leaving.packet)
    assert (leaving.side, refusal.source, refusal.destination) == (Side.INSIDE, end(OUTER, 7), PC)


def test_ping() -> None:
    box = nat()
    asked = passed(box, Side.INSIDE, echo(PC, SERVER, ECHO_REQUEST, 77, b"payload"))
    assert asked is not None
    there, identifier = SERVER[:4] + bytes(2), port_of(asked.source)
    assert asked.source[:4] == socket.inet_aton(OUTER)
    back = passed(box, Side.OUTSIDE, echo(there, asked.source, ECHO_REPLY, identifier, b"payload"))
    assert back is not None
    assert back.destination == PC[:4] + (77).to_bytes(2, "big")
    assert passed(box, Side.OUTSIDE, echo(there, asked.source, ECHO_REPLY, identifier + 1)) is None


@pytest.mark.parametrize("protocol", [UDP, TCP])
def test_an_error_from_outside_finds_its_way(protocol: int) -> None:
    box = nat()
    sent = datagram(UDP, PC, SERVER, b"hello") if protocol == UDP else segment(PC, SERVER, SYN)
    seen = passed(box, Side.INSIDE, sent)
    assert seen is not None
    router = socket.inet_aton("11.1.1.99")
    error = error_about(seen, TIME_EXCEEDED, 0, router)
    assert error is not None
    arrived = passed(box, Side.OUTSIDE, error)
    assert arrived is not None
    assert bytes(arrived.data[12:20]) == router + PC[:4]
    about = arrived.quoted()
    assert about is not None
    assert (about.source, about.destination) == (PC, SERVER)
    assert checksum(bytes(about.data[:20])) == 0
    if protocol == UDP:
        assert about.data[26:28] == sent[26:28]  # its checksum is the one that the host had sent
        assert udp_in(box, SERVER, seen.source) == PC  # and the mapping is still there


def test_an_error_about_nothing_of_ours_is_dropped() -> None:
    box = nat(filtering=Dependence.NONE)
    outer = udp_out(box, PC, SERVER)
    error = error_about(whole(datagram(UDP, outer, STRANGER, b"")), UNREACHABLE, 3, STRANGER[:4])
    assert error is not None
    assert box.handle(Side.OUTSIDE, error, NOW) is None


@pytest.mark.parametrize("mapping", list(Dependence))
def test_an_error_from_inside_finds_its_way(mapping: Dependence) -> None:
    box = nat(mapping=mapping)
    outer = udp_out(box, PC, SERVER)
    arrived = passed(box, Side.OUTSIDE, datagram(UDP, SERVER, outer, b"hello"))
    assert arrived is not None
    error = error_about(arrived, UNREACHABLE, 3, PC[:4])
    assert error is not None
    seen = passed(box, Side.INSIDE, error)
    assert seen is not None
    assert bytes(seen.data[12:20]) == outer[:4] + SERVER[:4]
    about = seen.quoted()
    assert about is not None
    assert (about.source, about.destination) == (SERVER, outer)


def test_the_time_to_live_ends_here() -> None:
    box = nat()
    outer = udp_out(box, PC, SERVER)
    leaving = box.handle(Side.INSIDE, datagram(UDP, PC, STRANGER, b"x", ttl=1), NOW)
    assert leaving is not None
    assert (leaving.side, leaving.packet[20]) == (Side.INSIDE, TIME_EXCEEDED)
    assert udp_in(box, STRANGER, outer) is None  # it did not open the way
    leaving = box.handle(Side.OUTSIDE, datagram(UDP, SERVER, outer, b"x", ttl=1), NOW)
    assert leaving is not None
    assert (leaving.side, leaving.packet[20]) == (Side.OUTSIDE, TIME_EXCEEDED)


def test_a_wire_changes_nothing() -> None:
    packet = datagram(UDP, PC, SERVER, b"x")
    assert Wire().handle(Side.INSIDE, packet, NOW) == Leaving(Side.OUTSIDE, packet)
    assert Wire().handle(Side.OUTSIDE, packet, NOW) == Leaving(Side.INSIDE, packet)


def test_a_behaviour_can_be_told() -> None:
    kind = Behaviour(Dependence.HOST, Dependence.NONE, Allocation.SEQUENTIAL, step=-2, hairpin=True)
    assert Behaviour.of(json.loads(json.dumps(dataclasses.asdict(kind)))) == kind
