"""`crust.connecting.utp_ports`: which UDP socket is used for what; over loopback, without a manager."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crust import Config, Endpoint
from crust.connecting.utp_ports import UtpPorts, utp_settings
from crust.errors import DialFailed, ListenFailed, TimedOut
from crust.nat import source_address
from crust.threads.clock import Deadline
from crust.transport.utp import UtpSettings, UtpStream
from tests.together import PATIENCE

LOCAL, OTHER, LOCAL6 = "127.0.0.1", "127.0.0.2", "::1"

Make = Callable[..., UtpPorts]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes the ports of a node; at the end they are closed."""
    made: list[UtpPorts] = []

    def ports(*hosts: str, refuses: Callable[[str], bool] = lambda host: False, **settings: Any) -> UtpPorts:
        made.append(UtpPorts(Config(listen_addresses=hosts or (LOCAL,), **settings), refuses))
        return made[-1]

    yield ports
    for one in made:
        one.close(Deadline(0.0))


def serving(ports: UtpPorts) -> Endpoint:
    """Let everybody in; where."""
    (sock,) = ports.listen(0)
    sock.start_accepting(lambda: None)
    return Endpoint.utp(sock.local_address)


def dial(ports: UtpPorts, target: Endpoint, timeout: float = PATIENCE) -> UtpStream:
    """Connect."""
    return ports.dial(target, Deadline(timeout), lambda stream: None)


def test_making_one_opens_nothing(make: Make) -> None:
    assert make().sockets == []


def test_the_live_port_first_and_a_free_one_when_it_is_busy(make: Make) -> None:
    (first,) = make().listen(0)
    port = first.local_address[1]
    (second,) = make().listen(port)
    assert second.local_address[1] not in (0, port)
    first.close()
    (third,) = make().listen(port)
    assert third.local_address[1] == port


def test_where_any_port_will_do_the_favourite_is_taken(make: Make) -> None:
    (first,) = make().listen(0)
    port = first.local_address[1]
    first.close()
    (second,) = make().listen(0, favourite=port)
    assert second.local_address[1] == port
    (third,) = make().listen(0, favourite=port)
    assert third.local_address[1] != port


def test_the_port_of_the_beacon_is_no_favourite(make: Make) -> None:
    """TRAPS T-67: the beacon shares its port with other nodes of the host, uTP does not."""
    (first,) = make(LOCAL).listen(0)
    port = first.local_address[1]
    first.close(0.0)
    (second,) = make(LOCAL, beacon_port=port).listen(0, favourite=port)
    assert second.local_address[1] != port
    (third,) = make(LOCAL).listen(0, favourite=port)
    assert third.local_address[1] == port


def test_all_addresses_share_a_port(make: Make) -> None:
    sockets = make(LOCAL, OTHER, LOCAL6).listen(0)
    assert [sock.local_address[0] for sock in sockets] == [LOCAL, OTHER, LOCAL6]
    assert len({sock.local_address[1] for sock in sockets}) == 1


def test_one_address_that_cannot_be_had_does_not_spoil_the_others(make: Make) -> None:
    (sock,) = make("192.0.2.1", LOCAL).listen(0)
    assert sock.local_address[0] == LOCAL


def test_no_address_at_all(make: Make) -> None:
    ports = make("192.0.2.1")
    with pytest.raises(ListenFailed, match=r"utp://192\.0\.2\.1"):
        ports.listen(0)
    assert ports.sockets == []


def test_who_listens_dials_from_there(make: Make) -> None:
    here, there = make(), make()
    target = serving(there)
    (own,) = here.listen(0)
    stream = dial(here, target)
    assert stream.remote == target
    (accepting,) = there.sockets
    assert accepting.accept(PATIENCE).remote == Endpoint.utp(own.local_address)
    assert here.sockets == [own]


def test_who_does_not_listen_dials_from_one_socket_of_each_family(make: Make) -> None:
    here, targets = make(), [serving(make(host)) for host in (LOCAL, OTHER, LOCAL6, LOCAL)]
    for target in targets:
        dial(here, target)
    assert [sock.local_address[0] for sock in here.sockets] == ["0.0.0.0", "::"]


def test_nobody_gets_in_where_one_only_dials(make: Make) -> None:
    here = make()
    dial(here, serving(make()))
    (own,) = here.sockets
    with pytest.raises(DialFailed):
        dial(make(), Endpoint.utp((LOCAL, own.local_address[1])), 0.05)
    assert own.counters["syn_refused"] > 0


def test_a_socket_that_is_bound_elsewhere_is_not_dialled_from(make: Make) -> None:
    here = make(LOCAL6)
    (own,) = here.listen(0)
    dial(here, serving(make()))
    assert [sock.local_address[0] for sock in here.sockets] == [own.local_address[0], "0.0.0.0"]


def test_of_several_that_are_listened_on_the_one_on_the_way_is_dialled_from(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first: from the address of a VPN, say, nothing would come back from elsewhere."""
    monkeypatch.setattr(source_address, "source_towards", lambda remote: LOCAL)
    here = make(OTHER, LOCAL)
    first, second = here.listen(0)
    target = serving(make())
    dial(here, target)
    assert (len(first), len(second)) == (0, 1)
    assert here.to_meet_at(4) is second


def test_who_is_not_welcome_is_not_answered(make: Make) -> None:
    asked: list[str] = []
    there = make(refuses=lambda host: asked.append(host) or True)  # type: ignore[func-returns-value]
    target = serving(there)
    with pytest.raises(DialFailed, match="no answer"):
        dial(make(), target, 0.05)
    assert asked == [LOCAL]
    with pytest.raises(TimedOut):
        there.sockets[0].accept(0.0)


def test_an_attempt_can_be_ended(make: Make) -> None:
    silent = make(refuses=lambda host: True)
    with pytest.raises(DialFailed, match="ended here"):
        make().dial(serving(silent), Deadline(PATIENCE), UtpStream.abort)


def test_after_close_nothing_is_opened(make: Make) -> None:
    ports = make()
    ports.close(Deadline(0.0))
    ports.close(Deadline(0.0))
    with pytest.raises(ListenFailed, match="stopping"):
        ports.listen(0)
    with pytest.raises(DialFailed, match="stopping"):
        dial(ports, Endpoint.utp((LOCAL, 1)))


def test_close_waits_until_what_was_sent_has_arrived(make: Make) -> None:
    here, there = make(), make()
    stream = dial(here, serving(there))
    other = there.sockets[0].accept(PATIENCE)
    stream.send_all(bytes(300_000))
    here.close(Deadline(PATIENCE))
    received = 0
    while received < 300_000:
        received += len(other.recv(65536, timeout=PATIENCE))


def test_the_manager_decides_who_is_dead_and_how_many_there_may_be() -> None:
    usual = UtpSettings()
    patient = utp_settings(Config(dead_after=1000.0, max_connections=10, max_half_open=7, max_dials=5))
    assert patient.dead_timeout == 1000.0
    assert patient.idle_timeout > 1000.0
    assert patient.max_connections == 22
    assert utp_settings(Config(dead_after=30.0)).dead_timeout == usual.dead_timeout
    assert utp_settings(Config(max_half_open_per_address=500)).half_open_per_host == 500
