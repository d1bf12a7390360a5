"""`crust.manager.reachability`: what is wrong with a call is said at once, and a question to a manager always has an
answer.

(What the calls do is in `tests/manager/test_meeting.py`.)
"""

import threading
from typing import Any

import pytest

import crust
from crust import Config, ConfigError, ConnectionManager, Identity
from crust.discovery.bootstrap_status import BootstrapStatus
from crust.errors import Malformed
from crust.identity import UnprovenPeerId
from crust.manager import reachability
from crust.nat.connection_info import ConnectionInfo
from crust.nat.nat_status import NatStatus

ALONE = Config(listen_addresses=("127.0.0.1",), beacon_port=None)


def test_only_a_proven_peer_id_can_be_reached() -> None:
    with ConnectionManager(crust.channel(), ALONE) as manager:
        for wrong in (None, "0" * 64, UnprovenPeerId(bytes(32))):
            with pytest.raises(ConfigError, match="PeerId"):
                manager.connect_peer(wrong)  # type: ignore[arg-type]


def test_a_wrong_line_is_refused_before_anything_begins() -> None:
    manager = ConnectionManager(crust.channel(), ALONE)
    line = ConnectionInfo(Identity().peer_id).encode()
    for theirs, ours in (("no line", line), (line, "no line"), ("no line", None)):
        with pytest.raises(Malformed, match="copy the whole line"):
            manager.rendezvous_connect(theirs, ours)
    assert manager._core is None, "no thread was started for it"
    manager.stop()


def test_questions_before_and_after() -> None:
    manager = ConnectionManager(crust.channel(), ALONE)
    for _ in range(2):
        assert manager.nat_status() == NatStatus(listening=False)
        assert manager.bootstrap_status() == BootstrapStatus()
        manager.stop()


def test_a_manager_thread_that_hangs_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``put()`` of the user's that blocks is the user's affair; but no call hangs because of it."""
    monkeypatch.setattr(reachability, "STATUS_PATIENCE", 0.05)
    hangs, goes_on = threading.Event(), threading.Event()

    class Blocking:
        def put(self, event: Any) -> None:
            hangs.set()
            goes_on.wait()

    manager = ConnectionManager(Blocking(), ALONE)
    manager.connect_peer(Identity().peer_id)
    hangs.wait()
    assert manager.nat_status() == NatStatus()
    goes_on.set()
    manager.stop()


def test_questions_while_it_stops() -> None:
    """Whatever the moment, there is an answer; nobody waits for `STATUS_PATIENCE`."""
    for _ in range(20):
        manager = ConnectionManager(crust.channel(), ALONE)
        manager.start_listening()
        thread = threading.Thread(target=manager.stop, name="test-stop")
        thread.start()
        while thread.is_alive():
            assert manager.nat_status().lines()
        thread.join()
