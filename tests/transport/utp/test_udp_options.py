"""`crust.transport.utp.udp_options`: what is asked of the system, and what happens where it says no."""

import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from crust.errors import ListenFailed
from crust.transport.utp import udp_options
from crust.transport.utp.udp_options import (
    Fragmentation,
    enable_offload,
    gro_segment,
    keep_freed_memory,
    open_socket,
    segment_ancillary,
)
from tests.transport.test_tcp import everywhere, has_ipv6
from tests.transport.utp.udp import Failing

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has segmentation offload")


@everywhere
def test_a_socket_is_bound_and_never_blocks(host: str) -> None:
    with closing(open_socket(host, 0)) as sock:
        assert sock.getsockname()[0] == host
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


@linux_only
@pytest.mark.parametrize(("option", "limit"), [(socket.SO_SNDBUF, "wmem_max"), (socket.SO_RCVBUF, "rmem_max")])
def test_buffers_are_as_large_as_the_system_allows(option: int, limit: str) -> None:
    allowed = int(Path("/proc/sys/net/core", limit).read_text("ascii"))
    with closing(open_socket("127.0.0.1", 0)) as sock:
        # Linux doubles what it is asked for, for its own bookkeeping.
        assert sock.getsockopt(socket.SOL_SOCKET, option) >= 2 * min(allowed, udp_options.BUFFER_BYTES)


@linux_only
def test_a_forced_size_is_not_reduced_again() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        setting = Failing(sock)
        udp_options._enlarge(setting, socket.SO_RCVBUF, socket.SO_RCVBUF)  # type: ignore[arg-type]
        assert setting.calls == ["setsockopt"]


def test_small_buffers_are_better_than_none() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        failing = Failing(sock, setsockopt=[PermissionError(), OSError()])
        udp_options._enlarge(failing, socket.SO_RCVBUF, udp_options._SO_RCVBUFFORCE)  # type: ignore[arg-type]
        assert set(failing.calls) == {"setsockopt"}


def test_a_busy_port_is_named_with_the_way_out() -> None:
    with closing(open_socket("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ListenFailed, match=f"cannot listen on utp://127.0.0.1:{port}: .*another program uses"):
            open_socket("127.0.0.1", port)


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(ListenFailed, match="this host has no such address"):
        open_socket("192.0.2.1", 0)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6: enable it (net.ipv6.conf.all.disable_ipv6=0)")
def test_both_families_share_a_port() -> None:
    with closing(open_socket("0.0.0.0", 0)) as first:
        with closing(open_socket("::", first.getsockname()[1])) as second:
            assert second.getsockname()[1] == first.getsockname()[1]


def test_freed_memory_is_kept_without_touching_it() -> None:
    keep_freed_memory()  # what it is good for shows in benches/datagrams.py


@linux_only
def test_a_system_without_offload_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_socket("127.0.0.1", 0)) as sock:
        assert not enable_offload(Failing(sock, setsockopt=[OSError()]))  # type: ignore[arg-type]
        assert not enable_offload(Failing(sock, setsockopt=[None, OSError()]))  # type: ignore[arg-type]
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not enable_offload(sock)


def test_the_size_of_segments_is_told_and_read() -> None:
    assert segment_ancillary(1400) == [(17, 103, (1400).to_bytes(2, sys.byteorder))]
    assert gro_segment([(1, 1, b""), (17, 104, (1400).to_bytes(4, sys.byteorder))]) == 1400
    assert gro_segment([]) == 0
    assert gro_segment([(17, 104, b"xx"), (17, 5, bytes(4))]) == 0


@everywhere
def test_fragmentation_can_be_forbidden_and_allowed_again(host: str) -> None:
    if sys.platform not in ("linux", "darwin", "win32"):
        pytest.skip("how to forbid fragmentation on this system is not known")
    with closing(open_socket(host, 0)) as sock:
        fragmentation = Fragmentation(sock)
        option = (fragmentation._level, fragmentation._option)
        allowed = sock.getsockopt(*option)
        assert fragmentation.forbid()
        assert sock.getsockopt(*option) != allowed
        assert fragmentation.allow()
        assert sock.getsockopt(*option) == allowed


def test_where_fragmentation_cannot_be_forbidden_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_socket("127.0.0.1", 0)) as sock:
        fragmentation = Fragmentation(Failing(sock, setsockopt=[None, OSError()]))  # type: ignore[arg-type]
        assert not fragmentation.forbid()
        monkeypatch.setattr(sys, "platform", "plan9")
        unknown = Failing(sock)
        assert not Fragmentation(unknown).forbid()  # type: ignore[arg-type]
        assert "setsockopt" not in unknown.calls
