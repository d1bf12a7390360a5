"""`Ground`: what the parts of a manager stand on."""

from collections.abc import Callable
from dataclasses import dataclass

from crust.config import Config
from crust.connecting.connections import Connections
from crust.connecting.dialing import Dialer
from crust.connecting.negotiate import Node
from crust.connecting.notices import Inbox
from crust.defence.blacklist import Blacklist
from crust.event import AnyEvent
from crust.identity import PeerId
from crust.threads.timers import Timers


@dataclass(frozen=True, slots=True)
class Ground:
    """See the module's text. What can change of it belongs to the manager thread, but for the inbox."""

    node: Node
    """Identity and keys."""
    config: Config
    inbox: Inbox
    """Where other threads tell the manager what happens."""
    timers: Timers
    connections: Connections
    dialer: Dialer
    blacklist: Blacklist
    """Who is not talked to."""
    emit: Callable[[AnyEvent], None]
    """Gives an event to the user."""

    @property
    def own_id(self) -> PeerId:
        """Who this node is."""
        return self.node.identity.peer_id
