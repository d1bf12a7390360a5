"""TCP: dialling, listening, and the `Stream` over a socket. The one place where ``OSError`` of TCP becomes ours."""

import errno
import logging
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final

from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import ConnectionLost, DialFailed, ListenFailed, TimedOut
from crust.limits import LISTEN_BACKLOG
from crust.threads.clock import Deadline
from crust.transport.inherited import not_for_children
from crust.transport.shared_port import TAKEN, let_it_dial_too, share_port

log = logging.getLogger("crust.tcp")

_LINGER: Final = "hh" if os.name == "nt" else "ii"
RESET_ON_CLOSE: Final = struct.pack(_LINGER, 1, 0)
"""For SO_LINGER: what is closed is gone at once, with a RST if there is anybody to tell."""
FLUSH_ON_CLOSE: Final = struct.pack(_LINGER, 0, 0)
"""For SO_LINGER: as sockets are by default."""

_DONT_WAIT: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)  # Windows has none

_CONNECTING: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
# Not the default one: epoll takes a descriptor for each wait, and select() none above 1023.
_Selector: Final[type[selectors.BaseSelector]] = getattr(selectors, "PollSelector", selectors.SelectSelector)

_ADVICE: Final[dict[int, str]] = {
    errno.ECONNREFUSED: "nothing listens on that port; is the peer running, and is the port right?",
    errno.ECONNRESET: "the peer or a box on the way reset the connection",
    errno.EPIPE: "the peer has closed the connection",
    errno.ENOTCONN: "the peer or a box on the way ended the connection at once",
    errno.ETIMEDOUT: "no answer; the host is off, or a firewall drops what we send",
    errno.EHOSTUNREACH: "there is no way to that host from here",
    errno.ENETUNREACH: "there is no route to that network from here (for an IPv6 address: has this host IPv6?)",
    errno.EADDRNOTAVAIL: "this host has no such address, or has no free port left",
    errno.EADDRINUSE: "another program uses that port",
    errno.EACCES: "not allowed; ports below 1024 need privileges, and a firewall may forbid others",
    errno.EPERM: "not allowed; a firewall on this host may forbid it",
    errno.EMFILE: "this process has too many files open; raise its limit (ulimit -n) or lower max_connections",
    errno.ENFILE: "this machine has too many files open; raise its limit",
    errno.ENOBUFS: "the machine is out of network buffers",
    errno.ENOMEM: "the machine is out of memory",
    errno.EAFNOSUPPORT: "this host does not speak that address family",
}
# What says that this machine, not the peer, has run out of something: trying again at once would not help.
OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


_NOT_FROM_THERE: Final = TAKEN | {errno.EINVAL}
"""Why a dial from a port that is given may fail where one from any port would not. Linux says EINVAL of a listener on
loopback, from which no packet leaves this machine."""
_ENDED_HERE: Final = "the connection was ended here"


def explain(error: OSError) -> str:
    """What an error of the operating system means and what to do about it."""
    if isinstance(error, TimeoutError):
        return _ADVICE[errno.ETIMEDOUT]
    if isinstance(error, socket.gaierror):
        return f"the host name cannot be resolved: {error.strerror}"
    advice = _ADVICE.get(error.errno or 0)
    text = error.strerror or str(error)
    return f"{text}: {advice}" if advice else text


def _explain_at(endpoint: Endpoint, error: OSError) -> str:
    """The same of what was tried at an address."""
    text = explain(error)
    if error.errno == errno.EINVAL and endpoint.lacks_scope:
        text += f": an address of a link needs its interface, as in {endpoint.host}%eth0"
    return text


class TcpStream:
    """A `crust.transport.base.Stream` over a connected TCP socket, which it owns.

    Args:
        sock: the connected socket.
        remote: the endpoint as it was dialled or accepted.
    """

    def __init__(self, sock: socket.socket, remote: Endpoint) -> None:
        self._sock = not_for_children(sock)
        self.remote = remote
        self._deadline: Deadline | None = None
        self._aborted = False
        self._lock = threading.Lock()  # abort() against close(): a descriptor number must not be used once it is free
        self._closed = False
        try:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tracer = remote.protocol is Protocol.TRACER
            self.local = (Endpoint.tracer if tracer else Endpoint.tcp)(sock.getsockname())
        except OSError as error:
            sock.close()
            raise ConnectionLost(explain(error)) from error

    def set_deadline(self, deadline: Deadline | None) -> None:
        """See `Stream.set_deadline`."""
        self._deadline = deadline
        if deadline is None and not self._closed:
            self._sock.settimeout(None)

    def _arm(self) -> None:
        assert self._deadline is not None
        remaining = self._deadline.remaining()
        if remaining == 0.0:  # a timeout of 0 would mean "do not block" to the socket
            raise TimedOut("the deadline has passed")
        self._sock.settimeout(remaining)

    def receive_into(self, buffer: memoryview) -> int:
        """See `Stream.receive_into`."""
        try:
            if self._deadline is not None:
                self._arm()
            count = self._sock.recv_into(buffer)
        except OSError as error:
            if _deadline_passed(error):
                raise TimedOut("the peer did not answer in time") from error
            raise self._lost(error) from error
        if not count and self._aborted:  # shutdown() reads as the end of the stream; the peer did not say so
            raise ConnectionLost(_ENDED_HERE)
        return count

    def receive_waiting(self, buffer: memoryview) -> int:
        """See `Stream.receive_waiting`."""
        if not self._can_look():
            return 0
        try:
            return self._sock.recv_into(buffer, 0, _DONT_WAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `Stream.send_all`."""
        try:
            if self._deadline is not None:
                self._arm()
            self._sock.sendall(data)
        except OSError as error:
            if _deadline_passed(error):
                raise TimedOut("the peer did not take what we sent in time") from error
            raise self._lost(error) from error

    def send_waiting(self, data: bytes | bytearray | memoryview) -> int:
        """See `Stream.send_waiting`."""
        if not self._can_look():
            return 0
        try:
            return self._sock.send(data, _DONT_WAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def _can_look(self) -> bool:
        # A Python socket with a timeout waits that long, whatever the flags say.
        return bool(_DONT_WAIT) and self._deadline is None

    def _lost(self, error: OSError) -> ConnectionLost:
        return ConnectionLost(_ENDED_HERE if self._aborted else explain(error))

    def finish_sending(self) -> None:
        """See `Stream.finish_sending`."""
        self._shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """See `Stream.abort`."""
        self._aborted = True
        with self._lock:
            if self._closed:
                return
            try:
                # Unsent data must not keep kernel memory for a peer that never reads.
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            except OSError:
                log.debug("cannot set SO_LINGER on %s", self.remote)
        # shutdown() wakes a thread that is blocked in recv() or send() on this socket; close() would not.
        self._shutdown(socket.SHUT_RDWR)

    def _shutdown(self, how: int) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._sock.shutdown(how)
            except OSError as error:
                log.debug("shutdown of %s: %s", self.remote, error)  # it was over already

    def close(self) -> None:
        """See `Stream.close`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._sock.close()


def _deadline_passed(error: OSError) -> bool:
    """Whether it was our own deadline; a connection on which the system gave up (ETIMEDOUT) is lost."""
    return isinstance(error, TimeoutError) and error.errno is None


def resolve(endpoint: Endpoint) -> list[Endpoint]:
    """The endpoints that a host name stands for (the endpoint itself when it is an address).

    Blocks as long as the system's resolver does.

    Raises:
        DialFailed: the name cannot be resolved.
    """
    if not endpoint.is_name:
        return [endpoint]
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DialFailed(explain(error) if isinstance(error, OSError) else str(error)) from error
    hosts = dict.fromkeys(str(address[0]) for *_, address in found)
    return [Endpoint(endpoint.protocol, host, endpoint.port) for host in hosts]


def _socket_address(endpoint: Endpoint) -> tuple[int, Any]:
    """Family and address for the socket module; a scope (``%eth0``) becomes its number."""
    flags = socket.AI_NUMERICHOST
    family, *_, address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)[0]
    return family, address


def dial(
    endpoint: Endpoint,
    deadline: Deadline,
    started: Callable[["PendingDial"], None] | None = None,
    source: Address | None = None,
) -> TcpStream:
    """Connect to an address (not a name).

    Args:
        endpoint: where to.
        deadline: when to give up.
        started: called with a handle whose ``abort()`` ends the attempt, before anything can block.
        source: where a listener of ours is bound: dial from its port, if the system lets us and it is free on this way.

    Raises:
        DialFailed: nothing answered, or it was ourselves; the message says what to do.
    """
    if source is not None:
        try:
            return _dial(endpoint, deadline, started, source)
        except DialFailed as error:
            if getattr(error.__cause__, "errno", None) not in _NOT_FROM_THERE:
                raise
            log.debug("not from the listening port: %s", error)
    return _dial(endpoint, deadline, started, None)


def _dial(
    endpoint: Endpoint, deadline: Deadline, started: Callable[["PendingDial"], None] | None, source: Address | None
) -> TcpStream:
    try:
        family, address = _socket_address(endpoint)
        sock = socket.socket(family, socket.SOCK_STREAM)
        if source is not None:
            share_port(sock, source)
    except OSError as error:
        raise DialFailed(explain(error)) from error
    pending = PendingDial(sock)
    try:
        if started is not None:
            started(pending)
        if deadline.expired:
            raise DialFailed("no time was left to try it")
        _connect(sock, address, deadline, pending)
        # A connect() to a free local port may meet itself: TCP allows that simultaneous open.
        if sock.getsockname() == sock.getpeername():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)  # or the port is taken for a minute
            raise DialFailed("that is the very socket that dials: nothing listens on that port of this host")
    except OSError as error:
        pending.finish()
        sock.close()
        raise DialFailed("given up" if pending.aborted else _explain_at(endpoint, error)) from error
    except BaseException:
        pending.finish()
        sock.close()
        raise
    if not pending.finish():
        sock.close()
        raise DialFailed("given up")
    try:
        return TcpStream(sock, endpoint)
    except ConnectionLost as error:
        raise DialFailed(str(error)) from error


def _connect(sock: socket.socket, address: Any, deadline: Deadline, pending: "PendingDial") -> None:
    """What ``sock.connect`` does, so that `PendingDial.abort` ends it whenever it comes."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in _CONNECTING:
        # An abort() from now on wakes us; one that came before may have left no trace on the socket.
        if pending.aborted:
            raise ConnectionAbortedError
        with _Selector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            if not selector.select(deadline.remaining()):
                raise TimeoutError
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


class PendingDial:
    """A connection attempt that another thread may end with `abort`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock
        self._lock = threading.Lock()
        self.aborted = False

    def abort(self) -> None:
        """End the attempt. Any thread, any number of times."""
        with self._lock:
            self.aborted = True
            if self._sock is not None:
                try:
                    self._sock.shutdown(socket.SHUT_RDWR)  # wakes it on Linux; elsewhere it ends at its deadline
                except OSError as error:
                    log.debug("an attempt was aborted before it began: %s", error)

    def finish(self) -> bool:
        """The attempt is over; whether nobody aborted it before."""
        with self._lock:
            self._sock = None
            return not self.aborted


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket on one address.

    Args:
        host: an IPv4 or IPv6 address; ``0.0.0.0`` and ``::`` stand for all.
        port: 1 to 65535, or 0 for a free one.

    Raises:
        ListenFailed: the port cannot be opened; the message says why.
    """
    endpoint = Endpoint.tcp((host, port))
    try:
        family, address = _socket_address(endpoint)
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenFailed(f"cannot listen on {endpoint}: {_explain_at(endpoint, error)}") from error
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is ours again at once
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(LISTEN_BACKLOG)
        let_it_dial_too(sock)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"cannot listen on {endpoint}: {_explain_at(endpoint, error)}") from error
    return not_for_children(sock)


def listen_everywhere(hosts: tuple[str, ...], port: int, failed: dict[str, str] | None = None) -> list[socket.socket]:
    """Listen on every address of ``hosts``: on ``port`` (the "live port") first, on a free one where that is busy.

    The same port is used for all addresses where it can be had. What cannot be listened on is ``failed``, and why.

    Raises:
        ListenFailed: no address at all can be listened on.
    """
    opened: list[socket.socket] = []
    failures: list[str] = []
    for host in hosts:
        wanted = opened[0].getsockname()[1] if opened else port
        for candidate in dict.fromkeys((wanted, 0)):
            try:
                opened.append(listen(host, candidate))
                break
            except ListenFailed as error:
                failures.append(str(error))
                if failed is not None and not candidate:
                    failed[host] = str(error)
                log.info("%s%s", error, "; trying a free port" if candidate else "")
    if not opened:
        raise ListenFailed("; ".join(failures) or "there is no address to listen on")
    return opened
