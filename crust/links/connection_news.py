"""What the threads of a connection tell the manager thread, beside messages."""

from dataclasses import dataclass
from typing import Any

from crust.defence.metering import Alert
from crust.links.connection import Connection
from crust.transport.relay.notes import Note


@dataclass(slots=True, eq=False)
class ReaderEnded:
    """The reader thread has read its last; everything before it is in the inbox already."""

    connection: Connection
    reason: str
    goodbye: bool
    refused: bool = False
    """Whether the goodbye was the peer's answer to being chosen."""
    misbehaved: bool = False
    """Whether the peer broke the protocol; `reason` says how."""
    excess: bool = False
    """Whether it sent more than it may; `reason` says what."""


@dataclass(slots=True, eq=False)
class WriterEnded:
    """The writer thread has written its last."""

    connection: Connection
    error: str | None


@dataclass(slots=True, eq=False)
class PeerSaid:
    """A control frame about the choice, which the connection itself has no answer for."""

    connection: Connection
    kind: int
    serial: int


@dataclass(slots=True, eq=False)
class Gossiped:
    """A CONTACTS frame came. Who takes it says so by `Connection.contacts_taken`."""

    connection: Connection
    content: dict[str, Any]


@dataclass(slots=True, eq=False)
class Told:
    """A frame about addresses or meetings came. Who takes it says so by `Connection.told_taken`."""

    connection: Connection
    kind: int
    content: dict[str, Any]


@dataclass(slots=True, eq=False)
class RelaySaid:
    """A RELAY frame came. Who takes it says so by `Connection.told_taken`."""

    connection: Connection
    note: Note


@dataclass(slots=True, eq=False)
class Flooded:
    """The peer sends more than it may, and is slowed down."""

    connection: Connection
    alert: Alert
