"""A real STUN server (coturn) and its clients, and sockets around our pure client and server to talk to them."""

import selectors
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from crust.endpoint import Address
from crust.nat.stun_client import Reply, StunClient
from crust.nat.stun_server import Corners, StunServer
from crust.nat.survey import SPARE, Findings, Survey

PATIENCE = 20.0  # seconds; a loaded machine is slow, what hangs never gets there
HOSTS = ("127.0.0.2", "127.0.0.3")


def tool(name: str) -> str:
    """The path of one of coturn's programs."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not there: apt-get install coturn")
    return path


def udp(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        if not host.startswith("127.0.0.1"):
            pytest.skip(f"this system has no address {host}: {error}; on macOS: ifconfig lo0 alias {host}")
        raise
    return sock


def _free_ports(count: int) -> list[int]:
    """Ports that are free on all hosts just now: this server cannot be told to take any."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = stack.enter_context(udp(HOSTS[0])).getsockname()[1]
            try:
                stack.enter_context(udp(HOSTS[1], port))
            except OSError:
                continue
            found.append(port)
        return found


@contextmanager
def coturn(directory: Path) -> Iterator[Corners]:
    """A server with two addresses and two ports."""
    ports = _free_ports(2)
    listeners = [word for host in HOSTS for word in ("-L", host)]
    numbers = ["-p", str(ports[0]), "--alt-listening-port", str(ports[1])]
    files = ["--log-file", "stdout", "--simple-log", "--pidfile", str(directory / "pid")]
    quiet = ["-n", "--no-tls", "--no-dtls", "--no-cli", "--stun-only", "--no-auth"]
    command = [tool("turnserver"), *quiet, *listeners, *numbers, *files]
    with open(directory / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        corners = Corners(HOSTS, (ports[0], ports[1]))
        if ask((HOSTS[0], ports[0])).seen is None:
            pytest.fail(f"coturn does not answer:\n{(directory / 'log').read_text(errors='replace')[-2000:]}")
        yield corners
    finally:
        server.terminate()
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def ask(server: Address) -> Reply:
    """Ask a server who we are; it may still be starting."""
    client = StunClient()
    with udp("127.0.0.1") as sock:
        end = time.monotonic() + PATIENCE
        client.ask(server, time.monotonic())
        while time.monotonic() < end:
            for data, to in client.outgoing():
                sock.sendto(data, to)
            due = client.next_deadline()
            sock.settimeout(max((due or end) - time.monotonic(), 0.001))
            try:
                data, source = sock.recvfrom(2048)
                client.receive(data, source, time.monotonic())
            except TimeoutError:
                client.tick(time.monotonic())
            for reply in client.replies():
                return reply
    return Reply(None, server, None)


def survey(servers: Sequence[Address]) -> tuple[Findings, Address]:
    """Find out about the NAT in front of a socket; the findings, and its address."""
    with udp("127.0.0.1") as main, udp("127.0.0.1") as spare, selectors.DefaultSelector() as selector:
        for sock in (main, spare):
            selector.register(sock, selectors.EVENT_READ)
        own: Address = main.getsockname()
        running = Survey(servers, {own[0]}, own[1], time.monotonic())
        while running.findings is None:
            for data, to, number, _ in running.outgoing():
                (spare if number else main).sendto(data, to)
            due = running.next_deadline()
            for key, _ in selector.select(max((due or 0.0) - time.monotonic(), 0.001)):
                data, source = key.fileobj.recvfrom(2048)  # type: ignore[union-attr]
                running.receive(data, source, time.monotonic(), SPARE if key.fileobj is spare else 0)
            running.tick(time.monotonic())
        return running.findings, own


@contextmanager
def serving(server: StunServer, corners: Corners) -> Iterator[None]:
    """Our server on four sockets, in a thread."""
    with ExitStack() as stack:
        sockets = {
            (host, port): stack.enter_context(udp(host, port)) for host in corners.hosts for port in corners.ports
        }
        selector = stack.enter_context(selectors.DefaultSelector())
        stop, stopped = socket.socketpair()
        stack.enter_context(stop)
        stack.enter_context(stopped)
        selector.register(stopped, selectors.EVENT_READ)
        for at, sock in sockets.items():
            selector.register(sock, selectors.EVENT_READ, at)

        def serve() -> None:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is stopped:
                        return
                    data, source = key.fileobj.recvfrom(4096)  # type: ignore[union-attr]
                    answer = server.answer(data, source, time.monotonic(), key.data)
                    if answer is not None:
                        sockets[answer.origin or key.data].sendto(answer.data, source)

        thread = threading.Thread(target=serve, name="test-stun")
        thread.start()
        try:
            yield
        finally:
            stop.send(b"x")
            thread.join(PATIENCE)


def our_corners() -> Corners:
    """Where our server can listen."""
    ports = _free_ports(2)
    return Corners(HOSTS, (ports[0], ports[1]))


def run(name: str, *arguments: str) -> str:
    """What one of coturn's clients says."""
    found = subprocess.run([tool(name), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return found.stdout + found.stderr
