"""Every number of the uTP transport that was chosen, with its unit and where it comes from.

``BEP 29`` is the uTP specification, ``libutp`` the reference implementation whose behaviour peers on the network rely
on, ``RFC 6817`` is LEDBAT. docs/utp.md explains where and why ours differ.
"""

from typing import Final

# --- packets ---------------------------------------------------------------------------------------------------------
REORDER_WINDOW: Final = 1024
"""Packets: how far ahead of the next expected one a packet may be. libutp drops what is further (it says
REORDER_BUFFER_MAX_SIZE), so this is also the most that we keep in flight, less one."""

MAX_SEGMENTS: Final = 64
"""Packets in one burst: what Linux takes in one call with ``UDP_SEGMENT`` (UDP_MAX_SEGMENTS)."""

MAX_BURST: Final = 65_000
"""Bytes in one burst: it is one IP packet to the kernel until the device cuts it, so less than 65,507."""

MTU_FLOOR_IPV4: Final = 548
"""Bytes of UDP payload that pass everywhere: 576 (RFC 1122) less the headers of IPv4 and UDP."""

MTU_FLOOR_IPV6: Final = 1232
"""Bytes of UDP payload: 1280 (RFC 8200) less the headers of IPv6 and UDP."""

MTU_CEILING_IPV4: Final = 1472
"""Bytes of UDP payload: an Ethernet frame less the headers of IPv4 and UDP."""

MTU_CEILING_IPV6: Final = 1452
"""Bytes of UDP payload: an Ethernet frame less the headers of IPv6 and UDP."""

# --- buffers ---------------------------------------------------------------------------------------------------------
RECEIVE_WINDOW: Final = 1 << 20
"""Bytes of one connection that wait for the reader, and the largest window that it advertises: as libutp."""

SEND_BUFFER: Final = 2 << 20
"""Bytes of one connection that are written and not acknowledged. Twice the window, so that the next window's worth is
there while the last is on its way."""

# --- time ------------------------------------------------------------------------------------------------------------
ACK_DELAY: Final = 0.02
"""Seconds for which the acknowledgement of a single packet may wait for data to travel with. libutp waits 100 ms;
shorter, because the sender's idea of the round trip includes it."""

SYN_INTERVAL: Final = 1.0
"""Seconds until the first repetition of a SYN; doubles each time (BEP 29: the initial timeout)."""

RENDEZVOUS_INTERVAL: Final = 0.25
"""Seconds between SYNs while both sides dial: what comes before the other side's NAT is open is lost, so that the
repetition must be quick, and both sides asked for it."""

KEEPALIVE: Final = 29.0
"""Seconds of our silence after which a packet keeps the NAT's mapping alive (libutp: measured on home NATs)."""

IDLE_TIMEOUT: Final = 150.0
"""Seconds without a packet from the peer until an idle connection counts as dead: five keep-alives."""

DEAD_TIMEOUT: Final = 60.0
"""Seconds without a packet from the peer until a connection with unacknowledged data counts as dead."""

LINGER: Final = 3.0
"""Seconds for which a connection that is over answers repetitions of the peer's last packets (BEP 29 leaves it open)."""

ZERO_WINDOW_PROBE: Final = 0.5
"""Seconds until a peer with a closed window is probed; doubles up to `ZERO_WINDOW_PROBE_MAX`. libutp waits 15 s, which
is what one lost window update would cost."""

ZERO_WINDOW_PROBE_MAX: Final = 15.0
"""Seconds: the longest pause between probes of a closed window (libutp's only one)."""

PACING_CREDIT: Final = 0.001
"""Seconds for which a sender may run ahead of its rate: the resolution of waiting in poll()."""

# --- what strangers can make us keep ------------------------------------------------------------------------------------
HALF_OPEN: Final = 1024
"""Connections for which a SYN came and no proof yet that its sender receives at its address: one small record each."""

HALF_OPEN_PER_HOST: Final = 64
"""The same, of one IPv4 address or IPv6 /64."""

HALF_OPEN_SECONDS: Final = 10.0
"""Seconds for which such a record is kept: a SYN is repeated after 1, 3 and 7 seconds."""

MAX_CONNECTIONS: Final = 3000
"""Connections on one socket (libutp's bound)."""

ACCEPT_BACKLOG: Final = 256
"""Established incoming connections that nobody has accepted yet; beyond it, newcomers are not answered."""

RESETS_REMEMBERED: Final = 1000
"""Strays that were answered with a RESET and are not answered again for `RESET_SECONDS` (libutp's bounds)."""

RESET_SECONDS: Final = 10.0
"""Seconds for which a stray that was answered is remembered."""
