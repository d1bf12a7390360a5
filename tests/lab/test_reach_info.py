"""Two people who know nobody in common meet by a line of text that each gives to the other."""

import threading
from typing import Any, Final

import pytest

from tests.lab.namespaces import Lab, Node
from tests.lab.nat_kinds import Kind, place
from tests.lab.nat_program import Remote
from tests.lab.punch_program import serve_in
from tests.lab.wiring import plug, switch

pytestmark = pytest.mark.lab

SERVER, OTHER = "11.1.1.250", "11.1.1.251"
LATE: Final = 5.0  # seconds from the one who presses a key to the other
SOON: Final = 20.0  # seconds after the later one; it takes less than one


def home(lab: Lab, wan: Node, number: int, **settings: Any) -> Remote:
    return Remote(place(lab, Kind.MASQUERADE, wan, number).node, stun_servers=[f"{SERVER}:3478"], **settings)


def test_lines_are_all_that_it_takes(lab: Lab) -> None:
    """Of two pairs, one has both transports, and the other one only uTP."""
    wan, server = switch(lab, "wan"), lab.node("server")
    plug(server, "eth0", wan, f"{SERVER}/24", f"{OTHER}/24")
    serve_in(server, SERVER, OTHER)
    first = [home(lab, wan, 2), home(lab, wan, 4, tcp_port=None)]
    second = [home(lab, wan, 3), home(lab, wan, 5, tcp_port=None)]
    everybody = first + second
    for remote in everybody:
        remote.ready()
        remote.tell("fresh")
    ids = [remote.hear() for remote in everybody]
    for remote in everybody:
        remote.tell("line")
    lines = [remote.hear() for remote in everybody]
    assert all(line.startswith("crust-info:") for line in lines)
    for remote in second:
        remote.ask("echo")

    for remote, line in zip(first, lines[2:], strict=True):
        remote.tell("meet_line", line, LATE + 2 * SOON)
    threading.Event().wait(LATE)
    for remote, line in zip(second, lines[:2], strict=True):
        remote.tell("meet_line", line, SOON)
    for number, remote in enumerate(second):
        endpoint, _, reasons = remote.hear()
        assert endpoint is not None, reasons
        assert f"11.1.1.{2 + 2 * number}:" in endpoint
        assert endpoint.startswith("utp://") or not number
    for remote, peer in zip(first, ids[2:], strict=True):
        endpoint, seconds, reasons = remote.hear()
        assert endpoint is not None, reasons
        assert LATE - 1 < seconds < LATE + SOON
        assert remote.ask("talk", peer)
