"""How managers find each other: beacon, cache, gossip, and nobody whom they should not (TRAPS 4.5 and 4.6)."""

import logging
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from crust import Endpoint, Event, Identity
from crust.discovery.bootstrap_cache import BootstrapCache
from crust.discovery.bootstrap_status import BootstrapStatus, ContactStatus
from crust.discovery.cache_record import network_tag
from crust.discovery.contact import Source
from crust.finding import own_addresses
from crust.transport.framing import CONTACTS, control_frame
from crust.transport.masking import network_keys
from tests.discovery.beacon_loopback import free_port
from tests.manager.conftest import both_transports
from tests.manager.helpers import LOOPBACK, Node, Nodes, loopback_config, wait_until
from tests.manager.test_bootstrapping import PATIENT_OF_NOBODY, closed
from tests.manager.test_stop import black_hole
from tests.manager.wire import WirePeer

QUICK = {"bootstrap_backoff_min": 0.05, "bootstrap_backoff_max": 0.2}


def cached(path: Path, network: str = "crust") -> list[Endpoint]:
    """What a cache file has, the most useful first."""
    cache = BootstrapCache(path, network=network_tag(network_keys(network, None).psk), allow_loopback=True)
    try:
        return [endpoint for contact in cache.contacts() for endpoint in contact.endpoints]
    finally:
        cache.close()


def fill(path: Path, nodes: Iterable[Node]) -> None:
    """Have a cache remember nodes."""
    cache = BootstrapCache(path, network=network_tag(network_keys("crust", None).psk), allow_loopback=True)
    for node in nodes:
        cache.worked(node.endpoint, node.id, Source.GOSSIP, 1e9)
    cache.close()


def contact(status: BootstrapStatus, endpoint: Endpoint) -> ContactStatus:
    """What a status says of an endpoint."""
    (found,) = [each for each in status.contacts if endpoint in each.endpoints]
    return found


# --- the beacon -------------------------------------------------------------------------------------------------------


@both_transports
def test_nodes_of_one_machine_find_each_other_without_any_address(nodes: Nodes) -> None:
    """Over TCP, and over uTP where nobody listens on TCP."""
    port = free_port()
    first = nodes.make(beacon_port=port)
    second = nodes.make(beacon_port=port)
    second.manager.bootstrap()
    assert second.expect(Event.NewBootstrapConnection) == Event.NewBootstrapConnection(first.endpoint, first.id)
    first.link(second)
    assert first.manager._beacon_acceptor_port() == port


def test_who_does_not_listen_finds_others_too(nodes: Nodes) -> None:
    port = free_port()
    first = nodes.make(beacon_port=port)
    guest = nodes.make(beacon_port=port, listen=False)
    guest.manager.bootstrap()
    assert guest.expect(Event.NewBootstrapConnection).peer_id == first.id


def test_who_starts_later_is_found_during_the_pause(nodes: Nodes) -> None:
    """The first node of a network finds nobody, and does not miss the second (T-29, T-30)."""
    port = free_port()
    first = nodes.make(beacon_port=port, bootstrap_backoff_min=60.0, bootstrap_backoff_max=60.0)
    first.manager.bootstrap()
    wait_until(lambda: first.manager.bootstrap_status().next_round_in is not None)
    second = nodes.make(beacon_port=port)
    assert first.expect(Event.NewBootstrapConnection).peer_id == second.id


def test_two_networks_on_one_wire_never_meet(nodes: Nodes) -> None:
    """T-36."""
    port = free_port()
    ours = [nodes.make(beacon_port=port, network="ours", **QUICK) for _ in range(2)]
    theirs = [nodes.make(beacon_port=port, network="theirs", **QUICK) for _ in range(2)]
    for node in (*ours, *theirs):
        node.manager.bootstrap(3)
    for pair in (ours, theirs):
        pair[0].link(pair[1])
        for node in pair:
            assert {status.peer_id for status in node.manager.bootstrap_status().contacts} <= {each.id for each in pair}


def test_without_a_beacon_there_is_none(nodes: Nodes) -> None:
    node = nodes.make(beacon_port=None)
    assert node.manager._beacon_acceptor_port() is None
    assert node.manager.bootstrap_status().beacon == "off (beacon_port is null)"


def test_its_own_beacon_is_nobody(nodes: Nodes) -> None:
    """T-28: two managers with one identity are one node; and neither dials itself."""
    port, identity = free_port(), Identity()
    pair = [nodes.make(beacon_port=port, identity=identity, **QUICK) for _ in range(2)]
    for node in pair:
        node.manager.bootstrap()
    wait_until(lambda: all(node.manager.bootstrap_status().round > 3 for node in pair))
    assert all(node.manager.bootstrap_status().contacts == () for node in pair)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_a_node_comes_back_by_its_cache_alone(nodes: Nodes, tmp_path: Path) -> None:
    """T-42: what worked is on the disk when the manager has stopped."""
    peer = nodes.make()
    first = nodes.make(cache_file=tmp_path / "cache", fallback=[peer.endpoint])
    first.manager.bootstrap()
    first.link(peer)
    first.stop()
    assert cached(tmp_path / "cache") == [peer.endpoint]
    again = nodes.make(cache_file=tmp_path / "cache")
    again.manager.bootstrap()
    assert again.expect(Event.NewBootstrapConnection).peer_id == peer.id
    status = again.manager.bootstrap_status()
    assert contact(status, peer.endpoint).source == "cache"
    assert status.cache == str(tmp_path / "cache")


def test_what_connect_reached_is_remembered_too_and_who_connected_to_us_is_not(nodes: Nodes, tmp_path: Path) -> None:
    """T-43: only what was verified; the port that a peer came from is none where it listens."""
    peer, guest = nodes.make(), nodes.make()
    node = nodes.make(cache_file=tmp_path / "cache", fallback=[peer.endpoint])
    guest.connect(node)
    node.link(guest)
    node.connect(peer)
    node.link(peer)
    node.manager.bootstrap()
    node.stop()
    assert cached(tmp_path / "cache") == [peer.endpoint]


def test_where_those_listen_whom_a_node_is_connected_to(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """First where it has dialled them; of others what gossip says; and no more when they are gone."""
    peer, guest = nodes.make(), nodes.make()
    node = nodes.make()
    node.connect(peer)
    guest.connect(node)
    for other in (peer, guest):
        node.link(other)
    told = {guest.id: (Endpoint.utp("198.51.100.7:5484"), Endpoint.tcp("198.51.100.7:5483"))}
    found = node.manager._core.finder
    monkeypatch.setattr(found, "endpoints_of", lambda peer_id: told.get(peer_id, ()))
    both = [(peer.id, peer.endpoint), (guest.id, Endpoint.tcp("198.51.100.7:5483"))]
    wait_until(lambda: list(found.tcp_endpoints()) == both)
    node.manager.blacklist(Endpoint.tcp("198.51.100.7:5483"))
    wait_until(lambda: list(found.tcp_endpoints()) == [(peer.id, peer.endpoint)])
    peer.stop()
    wait_until(lambda: not list(found.tcp_endpoints()))
    wait_until(lambda: not found._dialled)


def test_who_failed_goes_behind_others(nodes: Nodes, tmp_path: Path) -> None:
    peer, gone = nodes.make(), nodes.make()
    fill(tmp_path / "cache", [peer, gone])
    gone_from = gone.endpoint
    assert cached(tmp_path / "cache")[0] == gone_from
    gone.stop()
    node = nodes.make(cache_file=tmp_path / "cache", **PATIENT_OF_NOBODY)
    node.manager.bootstrap(2)
    node.expect(Event.NewBootstrapConnection)
    wait_until(lambda: not node.manager.bootstrap_status().running)
    status = contact(node.manager.bootstrap_status(), gone_from)
    assert status.failures >= 1
    assert "refused" in status.result
    node.stop()
    assert cached(tmp_path / "cache") == [peer.endpoint, gone_from]


def test_a_try_that_was_given_up_is_not_held_against_anybody(nodes: Nodes, tmp_path: Path) -> None:
    """Another one was faster; that says nothing of who was not waited for."""
    peer = nodes.make()
    with black_hole() as slow:
        node = nodes.make(cache_file=tmp_path / "cache", fallback=[slow, peer.endpoint])
        cache = BootstrapCache(
            tmp_path / "cache", network=network_tag(network_keys("crust", None).psk), allow_loopback=True
        )
        cache.worked(slow, Identity().peer_id, Source.GOSSIP, 1e9)
        cache.close()
        node.manager.bootstrap()
        node.expect(Event.NewBootstrapConnection)
        node.stop()
    assert set(cached(tmp_path / "cache")) == {slow, peer.endpoint}
    cache = BootstrapCache(tmp_path / "cache")
    failures = {record.endpoint: record.failures for record in cache.records()}
    cache.close()
    assert failures == {slow: 0, peer.endpoint: 0}


def test_our_own_address_in_our_own_cache(nodes: Nodes, tmp_path: Path) -> None:
    """T-28: known by the sockets before it is dialled, or by the handshake where an address is not known for ours."""
    holder = nodes.make(identity=Identity())
    fill(tmp_path / "cache", [holder])
    own = holder.endpoint
    holder.stop()
    node = nodes.make(tcp_port=own.port, cache_file=tmp_path / "cache", **PATIENT_OF_NOBODY)
    node.manager.bootstrap()
    wait_until(lambda: "that is this node itself" in str(node.manager.bootstrap_status()))
    assert contact(node.manager.bootstrap_status(), own).tries == 0
    node.stop()
    assert node.count == {"Stopped": 1}


def test_a_way_to_ourselves_that_we_do_not_know_for_ours_is_tried_once(nodes: Nodes, tmp_path: Path) -> None:
    """As a router that forwards a port makes one."""
    node = nodes.make(listen_addresses=("127.0.0.1", "127.0.0.2"), cache_file=tmp_path / "cache", **QUICK)
    way = node.at("127.0.0.2")
    cache = BootstrapCache(
        tmp_path / "cache", network=network_tag(network_keys("crust", None).psk), allow_loopback=True
    )
    cache.worked(way, None, Source.GOSSIP, 1e9)
    cache.close()
    node.manager._bound.clear()  # as if it did not know
    node.manager._core.finder._addresses._bound.clear()
    node.manager._core.finder._book.own = ()
    node.manager.bootstrap(keep_going=True)
    wait_until(lambda: node.manager.bootstrap_status().round > 3)
    assert contact(node.manager.bootstrap_status(), way).tries == 1
    node.stop()
    assert cached(tmp_path / "cache") == []


def test_a_broken_cache_does_not_keep_a_node_out(nodes: Nodes, tmp_path: Path, caplog: Any) -> None:
    """T-38, T-39: it is set aside, and contacts are remembered anew."""
    file = tmp_path / "my.bootstrap.cache"
    file.write_bytes(b"no cache at all" * 1000)
    peer = nodes.make()
    node = nodes.make(cache_file=file, fallback=[peer.endpoint])
    node.manager.bootstrap()
    node.expect(Event.NewBootstrapConnection)
    node.stop()
    assert cached(file) == [peer.endpoint]
    assert (tmp_path / "my.bootstrap.cache.corrupt-1").exists()


def test_a_program_that_does_not_bootstrap_leaves_no_file(nodes: Nodes, tmp_path: Path) -> None:
    """T-44."""
    peer = nodes.make()
    node = nodes.make(cache_file=tmp_path / "cache")
    node.connect(peer)
    node.link(peer)
    node.stop()
    assert list(tmp_path.iterdir()) == []


def test_managers_of_one_process_may_share_a_cache(nodes: Nodes, tmp_path: Path) -> None:
    """T-38."""
    peers = [nodes.make() for _ in range(6)]
    for _ in range(2):
        users = [nodes.make(cache_file=tmp_path / "cache", fallback=[peer.endpoint]) for peer in peers]
        for user in users:
            user.manager.bootstrap()
        for user in users:
            user.expect(Event.NewBootstrapConnection)
            user.stop()
    assert set(cached(tmp_path / "cache")) == {peer.endpoint for peer in peers}


# --- only the configuration -------------------------------------------------------------------------------------------


def test_override_uses_the_configured_contacts_only(nodes: Nodes, tmp_path: Path) -> None:
    port = free_port()
    neighbour, remembered, fallback = (nodes.make(beacon_port=port if number == 0 else None) for number in range(3))
    fill(tmp_path / "cache", [remembered])
    with closed() as configured:
        node = nodes.make(
            beacon_port=port,
            cache_file=tmp_path / "cache",
            fallback=[fallback.endpoint],
            hard_coded_contacts=(configured,),
            override_default_bootstrap=True,
            **QUICK,
        )
        node.manager.bootstrap(4)
        wait_until(lambda: node.manager.bootstrap_status().round > 3)
        status = node.manager.bootstrap_status()
        assert [each.endpoints for each in status.contacts] == [(configured,)]
        assert status.cache == "not opened"
    node.stop()
    assert node.count == {"Stopped": 1}
    assert not neighbour.count["NewConnection"]


def test_a_udp_port_that_never_answers_does_not_hold_it_up(nodes: Nodes) -> None:
    """T-31: a read without a timeout."""
    peer = nodes.make()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        deaf = Endpoint.utp(silent.getsockname())
        node = nodes.make(listen=False, fallback=[deaf], **PATIENT_OF_NOBODY)
        node.manager.bootstrap()
        wait_until(lambda: node.manager.bootstrap_status().round > 2)
        assert contact(node.manager.bootstrap_status(), deaf).failures >= 2
        node.manager.stop()
        other = nodes.make(listen=False, fallback=[deaf, peer.endpoint])
        other.manager.bootstrap()
        assert other.expect(Event.NewBootstrapConnection).peer_id == peer.id


# --- keeping going ----------------------------------------------------------------------------------------------------


def test_when_all_connections_are_lost_it_looks_for_others(nodes: Nodes) -> None:
    """T-24: and a connection that is there is kept."""
    peers = [nodes.make() for _ in range(2)]
    node = nodes.make(fallback=[peer.endpoint for peer in peers], **QUICK)
    node.manager.bootstrap(keep_going=True)
    first = node.expect(Event.NewBootstrapConnection)
    next(peer for peer in peers if peer.id == first.peer_id).stop()
    node.expect(Event.LostConnection)
    assert node.expect(Event.NewBootstrapConnection, 2).peer_id != first.peer_id


def test_with_another_connection_left_it_does_not(nodes: Nodes) -> None:
    peer, guest = nodes.make(), nodes.make()
    node = nodes.make(fallback=[peer.endpoint], **QUICK)
    guest.connect(node)
    node.link(guest)
    node.manager.bootstrap(keep_going=True)
    node.drop(node.expect(Event.NewBootstrapConnection).endpoint)
    peer.expect(Event.LostConnection)
    with WirePeer.dial(node.endpoint) as late:  # by then the restart would have begun
        late.settle()
        node.link(late.id)
    assert not node.manager.bootstrap_status().running
    assert node.count["NewBootstrapConnection"] == 1


def test_a_guest_of_whom_gossip_has_told_is_not_what_bootstrap_was_asked_for(nodes: Nodes) -> None:
    peer, guest = nodes.make(), nodes.make()
    node = nodes.make(fallback=[peer.endpoint])
    guest.connect(node)
    node.link(guest)
    wait_until(lambda: node.manager.bootstrap_status().known_by_gossip)
    node.manager.bootstrap()
    assert node.expect(Event.NewBootstrapConnection).peer_id == peer.id


def test_as_many_as_wanted_are_made_and_kept(nodes: Nodes) -> None:
    """No call of bootstrap() is needed; contacts come from the beacon, and from peers."""
    port = free_port()
    crowd = [nodes.make(beacon_port=port, target_connections=3) for _ in range(6)]
    for node in crowd:
        node.wait(lambda node: len(node.manager.connections()) >= 3)
    crowd[0].stop()
    for node in crowd[1:]:
        node.wait(lambda node: len({info.peer_id for info in node.manager.connections()} - {crowd[0].id}) >= 3)


def test_a_newcomer_is_no_reason_to_forget_the_contact_that_was_given(nodes: Nodes) -> None:
    """Else the two would stay on an island, when the contact was only late."""
    with closed() as contact_:
        node = nodes.make(target_connections=2, fallback=[contact_], **QUICK)
        newcomer = nodes.make(target_connections=2, fallback=[node.endpoint], **QUICK)
        node.link(newcomer)
        wait_until(lambda: node.manager.bootstrap_status().made)  # gossip told of it, and it counts
        seen = node.manager.bootstrap_status().round
        wait_until(lambda: node.manager.bootstrap_status().round > seen + 2)
    late = nodes.make(tcp_port=contact_.port)
    for each in (node, newcomer):
        each.link(late)
    wait_until(lambda: not node.manager.bootstrap_status().running)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_the_status_before_during_and_after(nodes: Nodes) -> None:
    peer = nodes.make()
    with closed() as nobody:
        node = nodes.make(listen=False, fallback=[nobody], **PATIENT_OF_NOBODY)
        assert node.manager.bootstrap_status() == BootstrapStatus()
        node.manager.bootstrap(2, keep_going=True)
        wait_until(lambda: node.manager.bootstrap_status().round > 2)
        status = node.manager.bootstrap_status()
        assert (status.running, status.keep_going, status.wanted, status.made, status.connected) == (
            True,
            True,
            2,
            0,
            0,
        )
        failed = contact(status, nobody)
        assert (failed.source, failed.peer_id) == ("fallback", None)
        assert failed.tries >= 2
        assert failed.failures >= 2
        assert failed.tried_at is not None
        assert "Connection refused" in failed.result
        assert f"{nobody} (fallback, tries: " in str(status)
    node.connect(peer)
    node.link(peer)
    wait_until(lambda: node.manager.bootstrap_status().connected == 1)
    node.stop()
    assert node.manager.bootstrap_status() == BootstrapStatus()


def test_addresses_that_come_and_go_are_told(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["127.0.0.1", "192.0.2.1"]
    monkeypatch.setattr(own_addresses, "interface_addresses", lambda: list(addresses))
    monkeypatch.setattr(own_addresses, "ADDRESS_CHECK", 0.02)
    node = nodes.make(config=loopback_config(listen_addresses=("0.0.0.0",), beacon_port=None))
    port = node.endpoint.port
    wait_until(lambda: node.manager._core.finder._addresses.endpoints)
    addresses.append("198.51.100.1")
    both = Event.OwnEndpointsChanged((Endpoint.tcp(("192.0.2.1", port)), Endpoint.tcp(("198.51.100.1", port))))
    assert node.expect(Event.OwnEndpointsChanged) == both
    del addresses[1]
    assert node.expect(Event.OwnEndpointsChanged, 2).endpoints == (Endpoint.tcp(("198.51.100.1", port)),)
    node.stop()
    assert node.count["OwnEndpointsChanged"] == 2


def test_a_new_address_ends_the_pause_of_a_bootstrap(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was off the network does not wait for a minute after it is back."""
    addresses = ["127.0.0.1"]
    monkeypatch.setattr(own_addresses, "interface_addresses", lambda: list(addresses))
    monkeypatch.setattr(own_addresses, "ADDRESS_CHECK", 0.02)
    with closed() as nobody:
        config = loopback_config(listen_addresses=("0.0.0.0",), bootstrap_backoff_min=60.0)
        node = nodes.make(config=config, fallback=[nobody])
        node.manager.bootstrap()
        wait_until(lambda: node.manager.bootstrap_status().next_round_in is not None)
        addresses.append("192.0.2.1")
        wait_until(lambda: node.manager.bootstrap_status().round == 2)


def test_misbehaviour_in_gossip_does_not_end_a_connection(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "crust.gossip")
    node = nodes.make()
    with WirePeer.dial(node.endpoint) as liar:
        liar.settle()
        for number in range(20):
            liar.send_frame(control_frame(CONTACTS, {"nonsense": number}))
        liar.send_messages(b"still here")
        node.wait(lambda node: node.heard[liar.id] == [b"still here"])
        wait_until(lambda: "breaks the rules of gossip" in caplog.text)
