"""``bootstrap()``: into the network by whoever can be reached, and no further (T-6, T-24 to T-30)."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crust import ConfigError, Endpoint, Event
from crust.transport.framing import BYE, control_frame
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, PATIENCE, Nodes, two_identities, wait_until
from tests.manager.proxy import Proxy
from tests.manager.test_stop import black_hole
from tests.manager.wire import WirePeer

PATIENT_OF_NOBODY = {"dial_timeout": 0.3, "bootstrap_backoff_min": 0.02, "bootstrap_backoff_max": 0.05}


@contextmanager
def deaf() -> Iterator[Endpoint]:
    """A contact that accepts and never answers."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield Endpoint.tcp(listener.getsockname())


@contextmanager
def closed() -> Iterator[Endpoint]:
    """A contact at whose port nobody listens (nor will, as long as this lasts)."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        yield Endpoint.tcp(holder.getsockname())


@both_transports
def test_by_a_fallback_endpoint(nodes: Nodes) -> None:
    """Both talk; the one who bootstrapped is told how the connection came about, the other sees a connection."""
    contact = nodes.make()
    node = nodes.make(listen=False, fallback=[contact.endpoint])
    node.manager.bootstrap()
    assert node.expect(Event.NewBootstrapConnection) == Event.NewBootstrapConnection(contact.endpoint, contact.id)
    node.send(contact, b"hello")
    contact.expect_messages(node, [b"hello"])
    assert contact.count["NewConnection"] == 1


@both_transports
def test_by_a_hard_coded_contact(nodes: Nodes) -> None:
    contact = nodes.make()
    node = nodes.make(hard_coded_contacts=(contact.endpoint,))
    node.manager.bootstrap()
    node.expect(Event.NewBootstrapConnection)


def test_bad_contacts_beside_a_good_one_do_no_harm(nodes: Nodes) -> None:
    """The original's ``bootstrap_with_multiple_contact_endpoints``, with more kinds of bad ones (T-25, T-32, T-34)."""
    contact, other_network = nodes.make(), nodes.make(network="another")
    with deaf() as silent, closed() as nobody, black_hole() as nowhere:
        bad = [silent, nobody, nowhere, other_network.endpoint, Endpoint.parse("tcp://nobody.invalid:1")]
        node = nodes.make(listen=False, fallback=[*bad, contact.endpoint])
        node.manager.bootstrap()
        assert node.expect(Event.NewBootstrapConnection).peer_id == contact.id
        node.stop()
        assert node.count == {"NewBootstrapConnection": 1, "Stopped": 1}


def test_only_bad_contacts_are_tried_until_one_of_them_is_good(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """Failed rounds are no events; the log says for each contact why, and when it goes on (T-27, T-35)."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    with deaf() as silent, closed() as late:
        node = nodes.make(listen=False, fallback=[silent, late], **PATIENT_OF_NOBODY)
        node.manager.bootstrap()
        wait_until(lambda: "bootstrap round 3" in caplog.text)
    assert f"{late}: Connection refused" in caplog.text
    assert f"{silent}: connected, but no valid answer came in time" in caplog.text
    assert "bootstrap round 2 reached nobody; the next begins in 0.0" in caplog.text
    contact = nodes.make(tcp_port=late.port)
    assert contact.endpoint == late
    assert node.expect(Event.NewBootstrapConnection).peer_id == contact.id
    node.stop()
    assert node.count == {"NewBootstrapConnection": 1, "Stopped": 1}


def test_nobody_to_try_is_said_at_once(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """T-30; and the next call, if there is somebody then, works."""
    node = nodes.make()
    node.manager.bootstrap()
    wait_until(lambda: "bootstrap() knows nobody to try: give fallback_endpoints" in caplog.text)


def test_a_blacklisted_contact_is_not_tried(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """The original's ``bootstrap_with_blacklist``."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    outcast = nodes.make(listen_addresses=("127.0.0.2",))
    port = outcast.manager.start_listening()[0].port
    with Proxy(Endpoint.tcp(("127.0.0.2", port))) as way:
        node = nodes.make(fallback=[way.endpoint], blacklist=[LOOPBACK], **PATIENT_OF_NOBODY)
        node.manager.bootstrap()
        wait_until(lambda: "bootstrap round 3" in caplog.text)
        assert way.accepted == 0
    assert "that address is on the blacklist" in caplog.text


def test_a_blacklisted_peer_is_not_kept(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crust.bootstrap")
    outcast, contact = nodes.make(), nodes.make()
    node = nodes.make(fallback=[outcast.endpoint, contact.endpoint], blacklist=[outcast.id])
    node.manager.bootstrap(max_connections=2)
    node.expect(Event.NewBootstrapConnection)
    wait_until(lambda: "bootstrap is done: 1 connected" in caplog.text)
    node.stop()
    assert [event.peer_id for event in node.news] == [contact.id]


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_as_many_connections_as_asked_for_and_not_one_more(nodes: Nodes, wanted: int) -> None:
    """The original's ``bootstrap_off_list``, exact (T-26). Also the contacts see no more than that."""
    contacts = [nodes.make() for _ in range(8)]
    for round_number in range(3):
        node = nodes.make(listen=False, fallback=[contact.endpoint for contact in contacts])
        node.manager.bootstrap(max_connections=wanted)
        node.expect(Event.NewBootstrapConnection, wanted)
        assert len(node.manager.connections()) == wanted
        node.stop()
        assert node.count == {"NewBootstrapConnection": wanted, "Stopped": 1}
        seen = sum(contact.count["NewConnection"] for contact in contacts)
        assert seen <= wanted * (round_number + 1)


def test_fewer_contacts_than_connections_asked_for(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """At least one is enough to be in the network; then it is done."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    contacts = [nodes.make() for _ in range(2)]
    node = nodes.make(listen=False, fallback=[contact.endpoint for contact in contacts])
    node.manager.bootstrap(max_connections=5)
    node.expect(Event.NewBootstrapConnection, 2)
    wait_until(lambda: "bootstrap is done: 2 connected in round 1" in caplog.text)


@both_transports
def test_two_addresses_of_one_contact_are_one_connection(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crust.bootstrap")
    contact = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2"))
    doors = [contact.at(host) for host in ("127.0.0.1", "127.0.0.2")]
    node = nodes.make(listen=False, fallback=doors)
    node.manager.bootstrap(max_connections=2)
    wait_until(lambda: "bootstrap is done" in caplog.text)
    node.stop()
    assert node.count == {"NewBootstrapConnection": 1, "Stopped": 1}


def test_a_contact_that_is_ourselves_is_no_contact(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """T-28: our own address in our own list."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    holder = nodes.make()
    own = holder.endpoint
    holder.stop()
    contact = nodes.make()
    node = nodes.make(tcp_port=own.port, fallback=[own, contact.endpoint])
    assert node.endpoint == own
    node.manager.bootstrap(max_connections=2)
    assert node.expect(Event.NewBootstrapConnection).peer_id == contact.id
    wait_until(lambda: "bootstrap is done: 1 connected" in caplog.text)
    assert "that is this node itself" in caplog.text
    node.stop()
    assert len(node.news) == 1


def test_a_contact_that_is_connected_already_makes_no_second_connection(
    nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    """T-27: the flood of connections to where one was connected."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    contact = nodes.make()
    node = nodes.make(fallback=[contact.endpoint])
    contact.connect(node)
    contact.link(node)
    node.link(contact)
    for _ in range(3):
        node.manager.bootstrap()
    wait_until(lambda: "bootstrap is done" in caplog.text)
    node.stop()
    assert node.count == {"NewConnection": 1, "Stopped": 1}


def test_a_first_contact_that_turns_us_away_is_not_the_end(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    """T-34; here the one who chooses is the contact, so that it can say no in time."""
    caplog.set_level(logging.INFO, "crust.bootstrap")
    lesser, greater = two_identities()
    full = nodes.make(identity=greater, max_connections=1)
    nodes.make(listen=False).connect(full)
    full.expect(Event.NewConnection)
    node = nodes.make(identity=lesser, listen=False, fallback=[full.endpoint], **PATIENT_OF_NOBODY)
    node.manager.bootstrap()
    wait_until(lambda: "bootstrap round 3" in caplog.text)
    assert "as many connections as it allows" in caplog.text
    full.drop(full.expect(Event.NewConnection).endpoint)
    assert node.expect(Event.NewBootstrapConnection).peer_id == full.id


@pytest.mark.parametrize("word", ["full", "refused"])
def test_a_contact_that_turns_away_one_who_chose_it_is_not_the_end_either(nodes: Nodes, word: str) -> None:
    """Its refusal comes after our choice, so we were connected for a moment; that is not what bootstrap() is for."""
    lesser, greater = two_identities()
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(PATIENCE)
        node = nodes.make(
            identity=greater, listen=False, fallback=[Endpoint.tcp(listener.getsockname())], **PATIENT_OF_NOBODY
        )
        node.manager.bootstrap()
        for _ in range(3):
            with WirePeer(listener.accept()[0], dials=False, identity=lesser) as contact:
                contact.prove()
                contact.send_frame(control_frame(BYE, {"reason": word, "text": "no"}))
                contact.read_until_closed()
        with WirePeer(listener.accept()[0], dials=False, identity=lesser) as contact:
            contact.prove()
            contact.settle()
            contact.send_messages(b"welcome")
            node.wait(lambda node: node.heard[lesser.peer_id] == [b"welcome"])


def test_calls_during_a_bootstrap_add_up(nodes: Nodes) -> None:
    """The second call asks for more; there are no two bootstraps side by side."""
    contacts = [nodes.make() for _ in range(4)]
    with deaf() as silent:
        node = nodes.make(listen=False, fallback=[silent, *(contact.endpoint for contact in contacts)])
        node.manager.bootstrap(1)
        node.manager.bootstrap(3)
        node.expect(Event.NewBootstrapConnection, 3)
        node.stop()
        assert node.count == {"NewBootstrapConnection": 3, "Stopped": 1}


def test_nonsense_is_refused_where_it_is_written(nodes: Nodes) -> None:
    node = nodes.make(listen=False)
    for wrong in (0, -1):
        with pytest.raises(ConfigError, match="at least 1 is needed"):
            node.manager.bootstrap(wrong)
