"""One peer of the demo, by its lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.beacon_loopback import free_port
from tests.processes import Process


def start(folder: Path, *options: str) -> Process:
    return Process("-m", "crust.cli.demo_worker", str(folder), *(options or ("tcp",)))


def tell(peer: Process, do: str, **fields: Any) -> None:
    peer.type(json.dumps({"do": do, **fields}))


def report(peer: Process, kind: str) -> dict[str, Any]:
    found = peer.expect(rf'"is": "{kind}"')
    parsed: dict[str, Any] = json.loads(found.string)
    return parsed


@pytest.mark.parametrize("transport", ["tcp", "utp"])
def test_two_peers_do_as_they_are_told(tmp_path: Path, transport: str) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    with start(tmp_path, transport) as ada, start(tmp_path / "into", transport) as ben:
        ada_ready, ben_ready = report(ada, "ready"), report(ben, "ready")
        tell(ben, "listen")
        place = report(ben, "listening")["place"]
        assert place.startswith(f"{transport}://127.0.0.1:")
        tell(ada, "connect", to=[place])
        assert report(ada, "new")["id"] == ben_ready["id"]
        assert report(ben, "new")["id"] == ada_ready["id"]
        tell(ada, "count")
        assert report(ada, "connections")["ids"] == [ben_ready["id"]]
        tell(ada, "say", to=[ben_ready["id"]], text="Grüß dich")
        assert report(ben, "message") == {"is": "message", "id": ada_ready["id"], "text": "Grüß dich"}
        tell(ada, "send", to=ben_ready["id"], path=str(tmp_path / "file"))
        assert report(ben, "offered")["size"] == 3_000_000
        assert report(ben, "received")["path"] == str(tmp_path / "into" / "file")
        assert report(ada, "sent") == {"is": "sent", "ok": True, "text": "file"}
        tell(ada, "stop")
        code, lines = ada.end()
        assert (code, lines[-1]) == (0, '{"is": "stopped"}')
        assert report(ben, "lost")["id"] == ada_ready["id"]
        ben.close_input()
        assert ben.end()[0] == 0
    assert (tmp_path / "into" / "file").read_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize("transport", ["tcp", "utp"])
def test_two_peers_find_each_other(tmp_path: Path, transport: str) -> None:
    options = (transport, "--network", "a demo in a test", "--beacon", str(free_port()), "--wanted", "1")
    with start(tmp_path, *options) as ada, start(tmp_path, *options) as ben:
        ids = [report(peer, "ready")["id"] for peer in (ada, ben)]
        for peer in (ada, ben):
            tell(peer, "listen")
        assert [report(peer, "new")["id"] for peer in (ben, ada)] == ids


def test_a_file_that_exists_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "into" / "file").write_bytes(b"yy")
    with start(tmp_path) as ada, start(tmp_path / "into") as ben:
        ben_ready = report(ben, "ready")
        tell(ben, "listen")
        tell(ada, "connect", to=[report(ben, "listening")["place"]])
        report(ada, "new")
        tell(ada, "send", to=ben_ready["id"], path=str(tmp_path / "file"))
        assert report(ada, "sent")["ok"] is False
        assert report(ben, "failed")["to"] == "file"


def test_a_dial_that_fails_is_reported(tmp_path: Path) -> None:
    with start(tmp_path) as ada:
        report(ada, "ready")
        tell(ada, "connect", to=["127.0.0.1:1"])
        assert report(ada, "failed")["to"] == "tcp://127.0.0.1:1"


def test_what_it_cannot_do_is_reported(tmp_path: Path) -> None:
    with start(tmp_path) as ada:
        report(ada, "ready")
        tell(ada, "say", to=["0123456789abcdef"], text="anybody?")
        assert report(ada, "failed")["reason"] == "not connected to 01234567"


@pytest.mark.parametrize("line", ["{}", "no json", '{"do": "dance"}'])
def test_what_it_does_not_understand_ends_it_with_an_error(tmp_path: Path, line: str) -> None:
    with start(tmp_path) as ada:
        report(ada, "ready")
        ada.type(line)
        assert ada.end()[0] != 0
