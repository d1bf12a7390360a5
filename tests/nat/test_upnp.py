"""`crust.nat.upnp`: miniupnpc in its own process, against gateways on loopback that are good, and that are not."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from crust.endpoint import Port
from crust.nat import upnp_child
from crust.nat.upnp import UpnpCall, unavailable
from crust.nat.upnp_messages import NO_HOLE, Answer, Call, Given, NoAnswer, Wish, encode
from crust.threads import clock
from tests.nat.firewall_server import FirewallServer
from tests.nat.igd_server import IgdServer

TCP, UTP = Port.tcp(5483), Port.utp(5484)
SOON = 1.0  # seconds in which a bad gateway is given up
ENOUGH = 20.0  # seconds for what a good one does at once, on a busy machine


def call(url: str, unwanted: tuple[Wish, ...] = (), *, local: str = "127.0.0.1") -> Call:
    wanted = () if unwanted else (Wish(TCP, 5483), Wish(UTP, 6000))
    return Call(url, local, wanted, unwanted, 3600)


def test_ports_are_mapped_and_unmapped() -> None:
    with IgdServer() as igd:
        igd.table[5483, "TCP"] = "127.0.0.9", 1, 0
        answer = UpnpCall(call(igd.url), ENOUGH).run()
        assert answer == Answer("11.1.1.2", {TCP: Given(5484, 3600), UTP: Given(6000, 3600)}, {}, None)
        assert igd.table[5484, "TCP"] == ("127.0.0.1", 5483, 3600)
        assert igd.table[6000, "UDP"] == ("127.0.0.1", 5484, 3600)
        UpnpCall(call(igd.url, (Wish(TCP, 5484), Wish(UTP, 6000))), ENOUGH).run()
        assert igd.table == {(5483, "TCP"): ("127.0.0.9", 1, 0)}


def test_settings_of_the_users_interpreters_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PYTHONHOME", "/nowhere"), ("PYTHONPATH", "/nowhere"), ("PYTHONSTARTUP", "/nowhere")):
        monkeypatch.setenv(name, value)
    with IgdServer() as igd:
        assert UpnpCall(call(igd.url), ENOUGH).run().external == "11.1.1.2"


def nobody(sock: socket.socket, request: bytes) -> bool:
    return True  # and the connection is closed


def not_xml(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"<root><device>" + b"<" * 8986)
    return True


def nested(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"<a>" * 1_000_000)
    return True


def negative(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + b"<root>")
    return True


@pytest.mark.parametrize("manner", [nobody, not_xml, nested, negative])
def test_nonsense_comes_to_nothing(manner: Callable[[socket.socket, bytes], bool]) -> None:
    with IgdServer(manner) as igd, pytest.raises(NoAnswer):
        UpnpCall(call(igd.url), ENOUGH).run()


def endless(sock: socket.socket) -> None:
    """As much as is taken, and for as long."""
    block = b" " * 65_536
    sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        sock.sendall(block)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the deadline limits it")
def test_a_giant_answer_is_given_up() -> None:
    def manner(sock: socket.socket, request: bytes) -> bool:
        endless(sock)
        return True

    # What ends it is the limit of memory, not the deadline.
    with IgdServer(manner) as igd, pytest.raises(NoAnswer, match="cannot be read"):
        UpnpCall(call(igd.url), 3 * ENOUGH).run()


def test_a_drip_of_bytes_ends_at_the_deadline() -> None:
    """One byte at a time would keep miniupnpc busy for ever."""
    done = threading.Event()

    def manner(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.05):
            sock.sendall(b" ")
        return True

    with IgdServer(manner) as igd:
        before = clock.now()
        with pytest.raises(NoAnswer, match="within 1 s"):
            UpnpCall(call(igd.url), SOON).run()
        assert SOON <= clock.now() - before < SOON + ENOUGH
        done.set()


def test_a_process_that_nobody_waits_for_any_more_ends_by_itself() -> None:
    done = threading.Event()

    def manner(sock: socket.socket, request: bytes) -> bool:
        return done.wait(ENOUGH)

    with IgdServer(manner) as igd:
        request = encode(call(igd.url), SOON - 1, sys.path)
        child = subprocess.run([sys.executable, upnp_child.__file__], input=request, timeout=ENOUGH, check=False)
        done.set()
    assert child.returncode == 1


def test_silence_ends_when_it_is_cancelled() -> None:
    asked, done = threading.Event(), threading.Event()

    def manner(sock: socket.socket, request: bytes) -> bool:
        asked.set()
        return done.wait(ENOUGH)

    with IgdServer(manner) as igd:
        running = UpnpCall(call(igd.url), ENOUGH)

        def cancel() -> None:
            asked.wait(ENOUGH)
            running.cancel()

        thread = threading.Thread(target=cancel, name="test-cancel")
        thread.start()
        before = clock.now()
        with pytest.raises(NoAnswer):
            running.run()
        assert clock.now() - before < ENOUGH / 2
        thread.join()
        done.set()


def test_a_call_that_was_cancelled_before_does_not_begin() -> None:
    running = UpnpCall(call("http://127.0.0.1:9/x"), ENOUGH)
    running.cancel()
    with pytest.raises(NoAnswer, match="stopping"):
        running.run()


def test_a_gateway_that_sends_us_elsewhere_is_not_followed() -> None:
    with IgdServer() as igd:
        igd.control = "http://127.0.0.2:9/ctl"
        with pytest.raises(NoAnswer, match="another device"):
            UpnpCall(call(igd.url), ENOUGH).run()


def test_a_gateway_that_is_reached_from_another_address_is_left_to_that_one() -> None:
    with IgdServer() as igd, pytest.raises(NoAnswer, match=r"reached from 127\.0\.0\.1"):
        UpnpCall(call(igd.url, local="127.0.0.2"), ENOUGH).run()


@pytest.mark.parametrize("external", ["", "nonsense", "999.1.1.1", "11.1.1.2" + " " * 200])
def test_an_outside_address_that_is_none(external: str) -> None:
    with IgdServer() as igd:
        igd.external = external
        try:
            answer = UpnpCall(call(igd.url), ENOUGH).run()
        except NoAnswer:
            return
        assert answer.external in (None, "11.1.1.2")


@pytest.mark.parametrize("why", ["frozen", "no interpreter", "no file"])
def test_programs_that_cannot_use_it_are_told(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    assert unavailable() is None
    if why == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    elif why == "no interpreter":
        monkeypatch.setattr(sys, "executable", None)
    else:
        monkeypatch.setattr(upnp_child, "__file__", "/nowhere/archive.zip/upnp_child.py")
    reason = unavailable()
    assert reason is not None
    with pytest.raises(NoAnswer, match=reason[:20]):
        UpnpCall(call("http://127.0.0.1:9/x"), ENOUGH).run()


def test_no_process_is_a_reason_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoAnswer, match="no process can be started"):
        UpnpCall(call("http://127.0.0.1:9/x"), ENOUGH).run()


def test_a_child_that_dies_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp_child, "__file__", __file__.replace("test_upnp.py", "__init__.py"))
    with pytest.raises(NoAnswer, match="what asks it does not survive"):
        UpnpCall(call("http://127.0.0.1:9/x"), ENOUGH).run()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")


def hole_call(url: str) -> Call:
    return Call(url, "::1", (Wish(TCP, NO_HOLE), Wish(UTP, NO_HOLE)), (), 3600)


@needs_ipv6
def test_holes_in_a_firewall_are_opened_and_closed() -> None:
    with FirewallServer() as router:
        answer = UpnpCall(hole_call(router.url), ENOUGH).run()
        assert answer == Answer("::1", {TCP: Given(1, 3600), UTP: Given(2, 3600)}, {}, None)
        assert router.firewall.holes == {1: (("::1", 5483, 6), 3600), 2: (("::1", 5484, 17), 3600)}
        ending = Call(router.url, "::1", (), (Wish(TCP, 1), Wish(UTP, 2)), 3600)
        assert UpnpCall(ending, ENOUGH).run() == Answer("::1", {}, {}, None)
        assert router.firewall.holes == {}


@needs_ipv6
def test_a_firewall_that_may_not_be_opened_is_told_of() -> None:
    with FirewallServer() as router:
        router.firewall.allowed = "0"
        answer = UpnpCall(hole_call(router.url), ENOUGH).run()
        assert answer.given == {}
        assert "does not allow holes in its IPv6 firewall" in answer.refused[TCP]


@needs_ipv6
def test_a_gateway_without_an_ipv6_firewall_is_told_of() -> None:
    with IgdServer(host="::1") as igd, pytest.raises(NoAnswer, match="names nothing that opens an IPv6 firewall"):
        UpnpCall(hole_call(igd.url), ENOUGH).run()


def moved(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[::1]:9/\r\nContent-Length: 0\r\n\r\n")
    return True


def headers_without_end(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)
    return True


def half_a_chunk(sock: socket.socket, request: bytes) -> bool:
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n<root>")
    return True


def ever_more(sock: socket.socket, request: bytes) -> bool:
    endless(sock)
    return True


@needs_ipv6
@pytest.mark.parametrize(
    ("manner", "said"),
    [
        (nobody, "cannot be spoken with"),
        (not_xml, "XML cannot be read"),
        (nested, "too much"),
        (negative, "XML cannot be read"),
        (moved, "HTTP status 302"),
        (headers_without_end, "cannot be spoken with"),
        (half_a_chunk, "cannot be spoken with"),
        (ever_more, "too much"),
    ],
)
def test_a_hostile_firewall_is_a_reason(manner: Callable[[socket.socket, bytes], bool], said: str) -> None:
    with FirewallServer(manner) as router, pytest.raises(NoAnswer, match=said):
        UpnpCall(hole_call(router.url), ENOUGH).run()


@needs_ipv6
def test_a_drip_of_bytes_of_a_firewall_ends_at_the_deadline() -> None:
    done = threading.Event()

    def manner(sock: socket.socket, request: bytes) -> bool:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not done.wait(0.05):
            sock.sendall(b" ")
        return True

    with FirewallServer(manner) as router:
        with pytest.raises(NoAnswer, match="within 1 s"):
            UpnpCall(hole_call(router.url), SOON).run()
        done.set()
