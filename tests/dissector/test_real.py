"""The Wireshark dissector on real captures: of two nodes on a network, and what `crust.transport.capture` writes of a
process."""

import runpy
from pathlib import Path

import pytest

import crust
from crust import Config, ConnectionManager, Endpoint, Event
from crust.transport.capture import VARIABLE
from tests.dissector.captures import Tshark
from tests.source_tree import ROOT

REAL = Path(__file__).with_name("data") / "real.pcap"
PATIENCE = 30.0  # seconds


def test_two_nodes_on_a_network(tshark: Tshark) -> None:
    """Captured on the loopback interface while they talked, by a program that knows nothing of Crust."""
    assert tshark.complaints(REAL) == []
    assert tshark.values(REAL, "crust.message.text") == [
        "hello, is this thing on?",
        "loud and clear",
        "one",
        "two",
        "three",
    ]
    (large,) = tshark.values(REAL, "crust.reassembled.length")
    assert large == "99840"
    types = tshark.values(REAL, "crust.type")
    assert [types.count(kind) for kind in ("0x70", "0x71", "0x12", "0x13", "0x10", "0x11", "0x14")] == [
        2,
        1,
        1,
        1,
        2,
        2,
        2,
    ]
    answers, questions = tshark.values(REAL, "crust.pong_in"), tshark.values(REAL, "crust.ping_in")
    assert (answers, questions) == (["25", "27"], ["23", "24"])


def test_the_picture_shows_what_tshark_says(tshark: Tshark) -> None:
    script = runpy.run_path(str(ROOT / "img" / "dissected.py"))
    assert script["record"]() == (ROOT / "img" / "dissected.txt").read_text("utf-8"), "python img/dissected.py"


@pytest.mark.parametrize("scheme", ["tcp", "utp", "tracer"])
def test_what_a_process_writes_of_itself(
    tshark: Tshark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Of two nodes, one is told to."""
    file = tmp_path / "talk.pcapng"
    ports = {f"{name}_port": 0 if name == scheme else None for name in ("tcp", "utp", "tracer")}
    config = Config(listen_addresses=("127.0.0.1",), beacon_port=None, upnp=False, allow_tracer=True, **ports)  # type: ignore[arg-type]
    here, there = crust.channel(), crust.channel()
    large = bytes(range(256)) * 400
    with ConnectionManager(here, config) as server, ConnectionManager(there, config) as client:
        (port,) = server.start_listening()
        monkeypatch.setenv(VARIABLE, str(file))
        client.connect(Endpoint(port.protocol, "127.0.0.1", port.port))
        connected = there.get(timeout=PATIENCE)
        client.send(connected.endpoint, b"for the file")
        client.send(connected.endpoint, large)
        assert isinstance(here.get(timeout=PATIENCE), Event.NewConnection)
        got = [here.get(timeout=PATIENCE).data for _ in range(2)]
        assert got == [b"for the file", large]
    assert tshark.complaints(file) == []
    assert tshark.values(file, "crust.message.text") == ["for the file"]
    assert tshark.values(file, "crust.reassembled.length") == [str(len(large))]
    ids = {server.identity.peer_id.hex(), client.identity.peer_id.hex()}
    assert set(tshark.values(file, "crust.peer")) == ids
    types = tshark.values(file, "crust.type")
    assert types.count("0x12") == types.count("0x13") == 1
    assert "0x14" in types
