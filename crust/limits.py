"""Every bound, interval and size of Crust: the number, its unit, and why it is that number.

Those that users may want to change are the defaults of `crust.config.Config`; the others are part of the protocol.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- messages -------------------------------------------------------------------------------------
MAX_MESSAGE_SIZE: Final = 16 * MIB
"""Bytes in one message. A receiver may have to hold this much for each connection before it can deliver anything."""
MESSAGE_SIZE_CEILING: Final = 2**31
"""Bytes; the most that ``max_message_size`` can be set to (lengths on the wire have 32 bits)."""

# --- what may wait --------------------------------------------------------------------------------
SEND_QUEUE_BYTES: Final = 8 * MIB
"""Bytes queued for one connection before ``send()`` refuses: half a second at 16 MB/s, and room for the writer to
batch.

One message is always accepted by an empty queue, so a limit below the message size still lets large messages
through."""
MESSAGE_OVERHEAD: Final = 64
"""Bytes that a queued message or waiting event counts beside its content, so that empty messages are bounded as
well."""
MAX_WAITING_EVENTS: Final = 262_144
"""Events that wait for the user before reading pauses: a quarter of a second of the smallest messages at full speed."""
MAX_WAITING_BYTES: Final = 32 * MIB
"""Bytes of messages that wait for the user before reading pauses: two of the largest messages."""

# --- how many -------------------------------------------------------------------------------------
MAX_CONNECTIONS: Final = 2048
"""Connections at a time. Each costs two threads and one descriptor; beyond this a thread-per-connection design is
wrong."""
MAX_CONNECTIONS_PER_ADDRESS: Final = 512
"""Connections with one IP address: a whole office behind one NAT fits; one host cannot take every place."""
MAX_HALF_OPEN: Final = 256
"""Accepted sockets whose handshake is not done. Each holds a thread for at most ``handshake_timeout``; when all are
taken the most overdue gives way, so that a flood of silent strangers cannot keep an honest peer (done in milliseconds)
out."""
MAX_HALF_OPEN_PER_ADDRESS: Final = 128
"""The same for one IP address: a crowd behind one NAT that comes back all at once still gets in."""
RELAY_CONNECTIONS: Final = 64
"""Connections of others that a node with ``relay: true`` carries at a time."""
RELAY_CONNECTIONS_PER_PEER: Final = 8
"""The same for one peer, whoever of the two asked: one peer must not take every place."""
MAX_DIALS: Final = 32
"""Outgoing attempts in progress at a time; others wait their turn. The original ran out of descriptors without it."""
MAX_WAITING_CONNECTS: Final = 4096
"""``connect()`` calls not finished yet; one more is refused."""
LISTEN_BACKLOG: Final = 512
"""Connections that the kernel keeps for a listener; the original's backlog of 1 dropped valid peers under stress."""

# --- how fast, for each second; 0 for no limit ------------------------------------------------------
MAX_BYTES_PER_SECOND: Final = 0
"""Bytes from the network on one connection. Off: any number that keeps an attacker from filling a home line would be
passed a hundred times over by honest peers on a LAN."""
MAX_MESSAGES_PER_SECOND: Final = 0
"""Messages on one connection. Off for the same reason: a fast peer sends a million of the smallest."""
MAX_RECORDS_PER_SECOND: Final = 0
"""Records, each of which has to be decrypted, on one connection. Off: a peer that sends single messages makes one of
each."""
MAX_CONTROLS_PER_SECOND: Final = 50
"""Control frames on one connection. Nothing that a program does makes one; keep-alive, choice and gossip together make
less than one a second, and 40 at once."""
MAX_HANDSHAKES_PER_SECOND: Final = 50
"""Connections that begin at one IPv4 address, or /64 of IPv6: each costs half a millisecond of cryptography and a
thread. 2000 may come at once."""
MAX_FAILURES_PER_SECOND: Final = 1
"""The same for those that turn out to be strangers: a node of another network that dials again and again stays below
it."""

RELAY_BYTES_PER_SECOND: Final = MIB
"""Bytes that each end of a connection which is carried for others may send: they are guests. A direct connection takes
its place where one can be had."""

# --- how long, in seconds -------------------------------------------------------------------------
DIAL_TIMEOUT: Final = 10.0
"""One attempt at one address, from the name look-up to the peer's choice; a retransmitted SYN comes after 1, 3 and 7
s."""
DIAL_STAGGER: Final = 0.25
"""Between the starts of attempts of one ``connect()``: RFC 8305 section 5 recommends 250 ms."""
TCP_HEAD_START: Final = 0.25
"""After the last TCP attempt of one ``connect()``, before its first over uTP: a TCP handshake takes one round trip, and
those of nearly all paths are shorter (RFC 8305 section 5, again). If all TCP attempts have failed, uTP begins at
once."""
HANDSHAKE_TIMEOUT: Final = 10.0
"""For an accepted connection to prove itself."""
KEEPALIVE_INTERVAL: Final = 20.0
"""After this long without sending anything a PING goes out; NATs forget idle TCP flows after minutes, so this is
ample."""
DEAD_AFTER: Final = 60.0
"""After this long without receiving a byte the peer is lost: three keep-alives missed."""
LINGER: Final = 5.0
"""For what is queued to be delivered when a connection or the manager ends in order."""
BOOTSTRAP_BACKOFF_MIN: Final = 1.0
"""Before the second round of ``bootstrap()``; each further round doubles it, with jitter."""
BOOTSTRAP_BACKOFF_MAX: Final = 60.0
"""The longest pause between rounds of ``bootstrap()``."""
BOOTSTRAP_PARALLEL: Final = 15
"""Contacts tried at a time by ``bootstrap()``, as the original did."""
