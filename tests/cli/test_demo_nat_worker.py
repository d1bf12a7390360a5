"""One peer of ``crust demo --nat``, by its lines, on loopback."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from crust.cli.demo_nat_worker import knock
from tests.processes import Process


def start(folder: Path, name: str) -> Process:
    into = folder / name
    into.mkdir()
    options = ["--network=demo", "--listen=127.0.0.1"]
    return Process("-m", "crust.cli.demo_nat_worker", str(into), "tcp", *options)


def tell(peer: Process, do: str, **fields: Any) -> None:
    peer.type(json.dumps({"do": do, **fields}))


def report(peer: Process, kind: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(peer.expect(rf'"is": "{kind}"').string)
    return parsed


@pytest.mark.slow
def test_it_does_as_it_is_told(tmp_path: Path) -> None:
    with start(tmp_path, "ada") as ada, start(tmp_path, "ben") as ben, start(tmp_path, "cleo") as cleo:
        ids = {name: report(peer, "ready")["id"] for name, peer in (("ada", ada), ("ben", ben), ("cleo", cleo))}
        for peer in (ada, ben, cleo):
            tell(peer, "listen")
        places = {name: report(peer, "listening")["place"] for name, peer in (("ben", ben), ("cleo", cleo))}
        for peer in (ada, ben):
            tell(peer, "connect", to=[places["cleo"]])
            assert report(peer, "new")["id"] == ids["cleo"]
        tell(ada, "survey")
        surveyed = report(ada, "surveyed")
        assert surveyed["reach"]
        assert [place for place in surveyed["places"] if place.startswith("tcp://127.0.0.1:")]
        host, _, port = places["ben"].removeprefix("tcp://").rpartition(":")
        tell(ada, "knock", at=[host, int(port)])
        assert report(ada, "knocked")["answer"] == "somebody answered"
        tell(ada, "reach", to=ids["ben"])
        assert report(ada, "new")["id"] == ids["ben"]
        tell(ada, "reach", to="ff" * 32)
        assert "meeting: " in report(ada, "failed")["reason"]
        for peer in (ada, ben, cleo):
            tell(peer, "stop")
            report(peer, "stopped")
            assert peer.end()[0] == 0


def test_nobody_there_is_told() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "refused" in knock(*bound.getsockname())
