"""Every number of the uTP transport that was chosen, with its unit and where it comes from.

``BEP 29`` is the uTP specification, ``libutp`` the reference implementation whose behaviour peers on the network rely
on, ``RFC 6817`` is LEDBAT. docs/utp.md explains where and why ours differ.
"""

from typing import Final

# --- packets ---
REORDER_WINDOW: Final = 1024
"""Packets: how far ahead of the next expected one a packet may be. libutp drops what is further (it says
REORDER_BUFFER_MAX_SIZE), so this is also the most that we keep in flight, less one."""

SEGMENTS_PER_CALL: Final = 64
"""Packets that Linux takes in one call with ``UDP_SEGMENT`` (UDP_MAX_SEGMENTS)."""

BYTES_PER_CALL: Final = 65_000
"""Bytes in one such call: it is one IP packet to the kernel until the device cuts it, so less than 65,507."""

MAX_SEGMENTS: Final = 184
"""Packets in one burst, which costs as much to decide on as one packet: four calls of 46 packets of 1400 bytes."""

MAX_BURST: Final = 4 * BYTES_PER_CALL
"""Bytes in one burst."""

MTU_FLOOR_IPV4: Final = 548
"""Bytes of UDP payload that pass everywhere: 576 (RFC 1122) less the headers of IPv4 and UDP."""

MTU_FLOOR_IPV6: Final = 1232
"""Bytes of UDP payload: 1280 (RFC 8200) less the headers of IPv6 and UDP."""

MTU_CEILING_IPV4: Final = 1472
"""Bytes of UDP payload: an Ethernet frame less the headers of IPv4 and UDP."""

MTU_CEILING_IPV6: Final = 1452
"""Bytes of UDP payload: an Ethernet frame less the headers of IPv6 and UDP."""

# --- buffers ---
RECEIVE_WINDOW: Final = 1 << 20
"""Bytes of one connection that wait for the reader, and the largest window that it advertises: as libutp."""

SEND_BUFFER: Final = 2 << 20
"""Bytes of one connection that are written and not acknowledged. Twice the window, so that the next window's worth is
there while the last is on its way."""

# --- time ---
ACK_DELAY: Final = 0.02
"""Seconds for which the acknowledgement of a single packet may wait for data to travel with. libutp waits 100 ms;
shorter, because the sender's idea of the round trip includes it."""

SYN_INTERVAL: Final = 1.0
"""Seconds until the first repetition of a SYN; doubles each time (BEP 29: the initial timeout)."""

RENDEZVOUS_INTERVAL: Final = 0.25
"""Seconds between SYNs while both sides dial: what comes before the other side's NAT is open is lost, so that the
repetition must be quick, and both sides asked for it."""

RENDEZVOUS_QUICK: Final = 40
"""SYNs at that pace: ten seconds; then the other side is late, or nobody, and gets one every two seconds."""

RENDEZVOUS_LATER: Final = 2.0
"""Seconds between SYNs after that."""

KEEPALIVE: Final = 29.0
"""Seconds of our silence after which a packet keeps the NAT's mapping alive (libutp: measured on home NATs)."""

IDLE_TIMEOUT: Final = 150.0
"""Seconds without a packet from the peer until an idle connection counts as dead: five keep-alives."""

DEAD_TIMEOUT: Final = 60.0
"""Seconds without news of anything that was sent until the connection counts as dead; a peer whose window is closed
only has to say so."""

LINGER: Final = 10.0
"""Seconds for which a connection that is over answers repetitions of the peer's last packets (open in BEP 29):
they come after 1, 3 and 7 seconds."""

ZERO_WINDOW_PROBE: Final = 0.5
"""Seconds until a peer with a closed window is probed; doubles up to `ZERO_WINDOW_PROBE_MAX`. libutp waits 15 s, which
is what one lost window update would cost."""

ZERO_WINDOW_PROBE_MAX: Final = 15.0
"""Seconds: the longest pause between probes of a closed window (libutp's only one)."""

PACING_LATENESS: Final = 0.005
"""Seconds for which a sender that was woken too late for its pace may catch up."""

PACING_CREDIT: Final = 0.001
"""Seconds for which a sender may run ahead of its rate: the resolution of waiting in poll()."""

# --- round trips and delays (round_trip.py, delay.py) ---
INITIAL_TIMEOUT: Final = 1.0
"""Seconds until a packet counts as lost while no round trip was measured (BEP 29)."""

MIN_TIMEOUT: Final = 0.5
"""Seconds: the shortest such time (BEP 29), so that delayed acknowledgements never look like losses."""

MAX_TIMEOUT: Final = 15.0
"""Seconds: the longest, however often it was doubled. RFC 6298, 2.5, has 60; but then a path that was down for half of
`DEAD_TIMEOUT` would be tried once more in all, and the connection is given up after that time anyway."""

BASE_HISTORY: Final = 13
"""Minutes whose lowest delays are remembered (libutp; RFC 6817 wants 10 or more)."""

DELAY_FILTER: Final = 4
"""Samples of which the lowest counts as the delay now (RFC 6817's CURRENT_FILTER; libutp has 3)."""

MAX_DRIFT_STEP: Final = 10_000
"""Microseconds: how far the other direction's base may fall at once and still count as clocks that drift (libutp)."""

# --- congestion (ledbat.py) ---
TARGET_DELAY: Final = 0.1
"""Seconds of queueing that we aim at or below: the most that RFC 6817 allows, and what libutp has, so that neither
starves beside the other."""

INITIAL_WINDOW: Final = 4
"""Packets on the way before the first acknowledgement (RFC 3390; RFC 6817 says 2, libutp 1)."""

MIN_WINDOW: Final = 2
"""Packets: the smallest window (RFC 6817), so that a delayed acknowledgement never has to be waited for."""

SLOW_START_DELAY: Final = 0.008
"""Seconds of queueing at which the window no longer doubles each round trip. So few that a flow that starts beside TCP
in a full queue stays small; TCP's own HyStart has 4 to 16 ms (RFC 9406)."""

FIRST_SLOWDOWN: Final = 1.5
"""Seconds from the end of slow start to the first slowdown; the pause doubles each time up to `LATER_SLOWDOWNS`."""

LATER_SLOWDOWNS: Final = 10.0
"""Seconds between slowdowns later on: how long a newcomer can take a full queue for an empty one."""

SLOWDOWN_SHARE: Final = 25
"""One in so many seconds at most is spent in slowdowns (LEDBAT++: one in ten)."""

# --- path MTU (path_mtu.py) ---
PROBE_GAP: Final = 16
"""Bytes: the search ends when the largest size that passed and the smallest that did not are this close (libutp)."""

PROBE_TRIES: Final = 3
"""Probes of one size that are lost before it counts as too large (RFC 8899's MAX_PROBES): any packet may be lost."""

PROBE_AGAIN: Final = 1800.0
"""Seconds until the path is searched anew (libutp: 30 minutes), as it may have changed."""

BLACK_HOLE_PAUSE: Final = 10.0
"""Seconds until a path that swallowed large packets is searched anew: it may just have been down."""

# --- what strangers can make us keep ---
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

# --- what was added for peers that are not as they should be ---
STALE_ACKS: Final = 256
"""Packets by which an acknowledgement may lag behind the oldest unacknowledged one and its packet still count: it was
overtaken on the way. Further off it is forged, or of another connection. libutp takes 3, and loses the overtaken."""

SMALLEST_WINDOW: Final = 1500
"""Bytes: less room is advertised as none, because libutp waits for ever when offered less than a packet."""

WINDOW_REPEATS: Final = 5
"""Times that the news of an opened window is repeated until data comes: libutp asks only every 15 s."""

SYNS_PER_ID: Final = 2
"""SYNs sent with one connection id: libutp never answers the repetition of a SYN whose answer was lost."""

UNREACHABLE: Final = 3.0
"""Seconds between "port unreachable" and the end of a connection on which nothing has been heard since."""

ORPHAN_TIMEOUT: Final = 30.0
"""Seconds for which a connection that was closed here waits for the peer's FIN."""

DIAL_TIMEOUT: Final = 120.0
"""Seconds for which a SYN is repeated, where whoever dials has set no earlier deadline."""

TOLD_SECONDS: Final = 1.0
"""Seconds after a RESET in which what comes for the connection was under way; later it is a repetition."""

MIN_MARGIN: Final = 0.1
"""Seconds beyond the smoothed round trip until a packet counts as lost, at least: round trips without any variance are
followed by others. RFC 6298 has the granularity of the clock here."""
