"""``crust peer`` as real processes, without a terminal."""

import signal
from pathlib import Path

import pytest

from crust.cli.console import Exit
from crust.config import Config
from tests.discovery.beacon_loopback import free_port
from tests.processes import Process


def peer(*arguments: str, env: dict[str, str] | None = None) -> Process:
    return Process("-m", "crust", "peer", *arguments, env=env)


def port_of(process: Process) -> str:
    return process.expect(r"^Listening for new connections on tcp:(\d+)")[1]


def id_of(process: Process) -> str:
    return process.expect(r"^This node's id is ([0-9a-f]{64})\.$")[1]


def test_two_peers_talk_by_number_id_and_address_and_stop() -> None:
    with peer() as first:
        address = f"127.0.0.1:{port_of(first)}"
        first_id = id_of(first)
        with peer(address) as second:
            second.expect(rf"^Bootstrapped to peer 1 at tcp://{address} \(id {first_id[:8]}\)\. 1 connected peer\.$")
            first.expect(r"^Connected to peer 1 at tcp://127\.0\.0\.1:\d+")
            for name in ("1", first_id[:6], address):
                second.type(f"send {name} to {name}")
                first.expect(f"^From peer 1: to {name}$")
            first.type("send-all grüße an alle")
            second.expect("^From peer 1: grüße an alle$")
            second.type("list")
            second.expect(rf"^1  {first_id[:8]}  tcp://{address}  +1 \(.*\)  +3 \(")
            second.type("stop")
            assert second.end()[0] == Exit.OK
            assert second.seen[-1] == "Stopped."
        first.expect("^Lost connection to peer 1 at .* No connected peers.$")
        first.close_input()
        assert first.end()[0] == Exit.OK


@pytest.fixture
def loopback(tmp_path: Path) -> dict[str, str]:
    """The environment for a local network of this test only."""
    file = tmp_path / "crust.yaml"
    Config(listen_addresses=("127.0.0.1",), beacon_port=free_port(), network="a test of peers").write(file)
    return {"CRUST_CONFIG": str(file)}


def test_peers_of_a_local_network_need_no_addresses(loopback: dict[str, str]) -> None:
    with peer(env=loopback) as first, peer(env=loopback) as second:
        first_id, second_id = id_of(first), id_of(second)
        for one, other_id in ((first, second_id), (second, first_id)):
            one.expect(r"^Looking for peers")
            one.expect(rf"^(Bootstrapped|Connected) to peer 1 at .* \(id {other_id[:8]}\)\. 1 connected peer\.$")
        first.type("status")
        first.expect("^connections  1$")
        first.expect(r"^beacon       hears others on UDP port \d+$")
        first.expect(rf" {second_id[:8]}  beacon ")
        second.type("stop")
        first.expect("^Lost connection to peer 1 at ")
        with peer(env=loopback) as third:
            first.expect(rf" to peer 2 at .* \(id {id_of(third)[:8]}\)")


def test_a_peer_is_reached_by_its_id_through_one_in_common(loopback: dict[str, str]) -> None:
    with peer("--alone", env=loopback) as common, peer("--alone", env=loopback) as wanted:
        address, wanted_id = f"127.0.0.1:{port_of(common)}", id_of(wanted)
        wanted.type(f"connect {address}")
        wanted.expect("^Connected to peer 1 at ")
        with peer(address, env=loopback) as seeker:
            seeker.type(f"punch {wanted_id}")
            seeker.expect(f"^Looking for a way to {wanted_id[:8]} ...$")
            seeker.expect(rf"^Connected to peer 2 at .* \(id {wanted_id[:8]}\)\. 2 connected peers\.$")
            seeker.type("send 2 through routers")
            wanted.expect("^From peer 2: through routers$")
            seeker.type(f"punch {wanted_id[:6]}")
            seeker.expect("^Already connected to peer 2 at ")
            seeker.type("stop")
            assert seeker.end()[0] == Exit.OK


def test_who_wants_to_be_alone_neither_looks_nor_is_found(loopback: dict[str, str]) -> None:
    with peer("--alone", env=loopback) as hermit, peer("--wait", "1", env=loopback) as seeker:
        port_of(hermit)
        code, lines = seeker.end()
        assert code == Exit.UNREACHABLE
        assert any("no connection to anybody after 1 s" in line for line in lines)
        hermit.type("status")
        hermit.expect("^search       none$")
        hermit.expect(r"^beacon       off \(beacon_port is null\)$")
        hermit.close_input()
        code, lines = hermit.end()
        assert code == Exit.OK
        assert not any("Looking" in line for line in lines)


def test_with_addresses_nobody_else_is_looked_for(loopback: dict[str, str]) -> None:
    with peer(env=loopback) as near, peer("--alone", env=loopback) as meant:
        address = f"127.0.0.1:{port_of(meant)}"
        port_of(near)
        with peer(address, env=loopback) as visitor:
            visitor.expect(rf"^Bootstrapped to peer \d at tcp://{address} ")  # near may have found it first
            visitor.type("status")
            visitor.expect("^search       none$")
            visitor.expect(rf"^tcp://{address} .* config ")
            visitor.close_input()
            assert visitor.end()[0] == Exit.OK


def test_a_script_delivers_before_it_ends() -> None:
    with peer("--stay") as receiver:
        receiver.close_input()
        address = f"127.0.0.1:{port_of(receiver)}"
        with peer() as script:
            script.type(f"# a script\nconnect {address}\nsend 1 {'x' * 100_000}\nsend 1 last words")
            script.close_input()
            code, lines = script.end()
        assert code == Exit.OK, lines
        receiver.expect("^From peer 1: x{100000}$")
        receiver.expect("^From peer 1: last words$")
        receiver.signal(signal.SIGTERM)
        assert receiver.end()[0] == Exit.OK
        assert receiver.seen[-1] == "Stopped."


def test_who_drops_sees_it_at_once_and_the_other_is_told() -> None:
    with peer() as first, peer(f"127.0.0.1:{port_of(first)}") as second:
        second.expect("^Bootstrapped to peer 1")
        second.type("send 1 bye")
        second.type("drop 1")
        second.expect("^Dropped peer 1 at ")
        first.expect("^From peer 1: bye$")
        first.expect("^Lost connection to peer 1 at ")
        second.type("send 1 too late")
        second.expect("^error: peer 1 is no longer connected; back with: connect tcp://")
        second.close_input()
        assert second.end()[0] == Exit.FAILED, "a command of the script failed"


def test_a_peer_with_an_identity_file_comes_back_under_its_number(tmp_path: Path) -> None:
    with peer() as first:
        arguments = (f"127.0.0.1:{port_of(first)}", "--identity", str(tmp_path / "me.key"))
        for _ in range(2):
            with peer(*arguments) as visitor:
                visitor.expect("^Bootstrapped to peer 1")
                visitor.close_input()
                assert visitor.end()[0] == Exit.OK
            first.expect("^Connected to peer 1 at ")
            first.expect("^Lost connection to peer 1 at ")


@pytest.mark.slow
def test_unreachable_peers_are_an_exit_code() -> None:
    with peer() as gone:
        port = port_of(gone)
        gone.close_input()
        gone.end()
    with peer("--wait", "0.5", f"127.0.0.1:{port}") as lonely:
        code, lines = lonely.end()
    assert code == Exit.UNREACHABLE
    assert any(f"no connection to tcp://127.0.0.1:{port} after 0.5 s" in line for line in lines)


@pytest.mark.slow
def test_another_network_is_unreachable() -> None:
    key = {"CRUST_NETWORK_KEY": "correct horse battery staple"}
    with peer(env=key) as closed:
        address = f"127.0.0.1:{port_of(closed)}"
        with peer("--wait", "0.5", address) as stranger:
            assert stranger.end()[0] == Exit.UNREACHABLE
        with peer(address, env=key) as friend:
            friend.expect("^Bootstrapped to peer 1")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_node_that_stays_in_order(number: signal.Signals) -> None:
    with peer("--stay") as node, peer(f"127.0.0.1:{port_of(node)}") as other:
        other.expect("^Bootstrapped to peer 1")
        node.close_input()
        node.expect("^Connected to peer 1")
        node.signal(number)
        code, lines = node.end()
        assert (code, lines[-1]) == (Exit.OK, "Stopped.")
        other.expect("^Lost connection to peer 1")


def test_a_signal_before_the_script_is_done_is_told_by_the_exit_code() -> None:
    with peer() as node:
        port_of(node)
        node.signal(signal.SIGINT)
        code, lines = node.end()
    assert (code, lines[-1]) == (Exit.INTERRUPTED, "Stopped.")


def test_a_hostile_message_cannot_drive_the_terminal() -> None:
    with peer() as victim, peer(f"127.0.0.1:{port_of(victim)}") as enemy:
        enemy.expect("^Bootstrapped to peer 1")
        enemy.type("send 1 \x1b]0;owned\x07\x1b[2J\rFrom peer 9: trust me")
        victim.expect(r"^From peer 1: \\x1b\]0;owned\\x07\\x1b\[2J\\x0dFrom peer 9: trust me$")
        enemy.type("send 1 \udcff\udcfe")
        victim.expect("^From peer 1: 2 bytes$")


def test_a_busy_port_is_replaced_and_named() -> None:
    with peer() as first:
        port = port_of(first)
        with peer("--tcp", port) as second:
            assert port_of(second) != port


def test_a_bad_configuration_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tcp_prot: 5483\n")
    with peer("--config", str(file)) as node:
        code, lines = node.end()
    assert code == Exit.USAGE
    assert len(lines) == 1
    assert "bad.yaml, line 1" in lines[0]
    assert "tcp_port" in lines[0]


def test_addresses_and_solitude_contradict_each_other() -> None:
    with peer("--alone", "127.0.0.1:1") as node:
        assert node.end() == (Exit.USAGE, ["error: --alone and PEERs: one or the other"])


def test_to_be_alone_and_wait_for_somebody(loopback: dict[str, str]) -> None:
    with peer("--alone", "--wait", "0.2", env=loopback) as node:
        code, lines = node.end()
    assert code == Exit.UNREACHABLE
    assert any("no connection to anybody after 0.2 s" in line for line in lines)


def test_who_is_not_on_the_allow_list_is_not_talked_to(loopback: dict[str, str]) -> None:
    with peer("--alone", "--only", "192.0.2.0/24", env=loopback) as node:
        address = f"127.0.0.1:{port_of(node)}"
        with peer("--wait", "0.5", address, env=loopback) as stranger:
            assert stranger.end()[0] == Exit.UNREACHABLE
        node.type("only")
        node.expect("^192.0.2.0/24$")
        node.type("only 127.0.0.1")
        node.expect("^Only these now: 127.0.0.1.$")
        with peer(address, env=loopback) as welcome:
            welcome.expect("^Bootstrapped to peer 1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")
def test_what_is_received_and_cannot_be_written_ends_the_node(loopback: dict[str, str]) -> None:
    """The output is a pipe at first, and a full disk once the node stays."""
    script = (
        "import os, sys\n"
        "from crust.cli import main, peer_session\n"
        "stay = peer_session.Session.stay\n"
        "def fill_and_stay(session):\n"
        "    os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n"
        "    print('the disk is full', file=sys.stderr, flush=True)\n"
        "    stay(session)\n"
        "peer_session.Session.stay = fill_and_stay\n"
        "sys.exit(main(['peer', '--alone', '--stay']))"
    )
    with Process("-c", script, env=loopback) as node:
        node.close_input()
        address = f"127.0.0.1:{port_of(node)}"
        node.expect("the disk is full")
        with peer(address, env=loopback) as sender:
            code, lines = node.end()
            sender.expect("^Lost connection to peer 1")
    assert code == Exit.FAILED
    assert lines[-1] == "error: cannot write to standard output: No space left on device"
