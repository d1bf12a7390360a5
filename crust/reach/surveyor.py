"""`Surveyor`: finds out where others see the uTP port, and what the NAT in front of it does.

It asks the servers of the configuration, and connected peers, over STUN (RFC 8489): all of it once, when there is
somebody to ask, and again when this machine's addresses change; and quickly, where others see us now, before each
meeting. Between those it sends nothing. Belongs to the manager thread.
"""

import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from crust.connecting import notices
from crust.endpoint import Address, Endpoint, Protocol
from crust.errors import CrustError
from crust.nat.behaviour import UNKNOWN, Allocation, Behaviour
from crust.nat.behaviour import Mapping as NatMapping
from crust.nat.errand import Errand
from crust.nat.glance import GLANCE_SERVERS, Glance
from crust.nat.interfaces import interface_addresses, interface_networks
from crust.nat.observations import Observations
from crust.nat.outgoing import Machine
from crust.nat.ranges import is_in, is_local
from crust.nat.survey import SURVEY_SERVERS, Survey
from crust.reach.errands import Errands
from crust.threads.clock import now
from crust.threads.workers import WorkerPool
from crust.transport.tcp import resolve
from crust.transport.utp import UtpSocket

log = logging.getLogger("crust.reach")

GLANCE_LIFETIME: Final = 25.0
"""Seconds for which a look at where others see us is recent, where all see the same: hardly any NAT forgets what is
idle sooner (RFC 4787 REQ-5 asks for two minutes)."""
SURVEY_PAUSE: Final = 30.0
"""Seconds after a survey that did not learn how the NAT maps, before another one is worth its four seconds."""
GLANCE_LINGER: Final = 0.5
"""Seconds for which answers are still taken that come after a glance."""


class Surveyor:
    """See the module's text.

    Args:
        servers: ``stun_servers`` of the configuration.
        inbox: the manager's.
        socket: gives the UDP socket of uTP over IPv4, if there is one.
        peers: the uTP addresses of peers that may be asked.
        observations: where what is seen goes.
        errands: where threads are kept.
        changed: called when something is known that was not.
    """

    def __init__(
        self,
        servers: Iterable[str],
        inbox: notices.Inbox,
        socket: Callable[[], UtpSocket | None],
        peers: Callable[[], list[Address]],
        observations: Observations,
        errands: Errands,
        changed: Callable[[], None],
    ) -> None:
        self.behaviour: Behaviour = UNKNOWN
        self.asked = self.answered = 0
        self.last_given: Address | None = None
        """Of a NAT that counts ports, the last one that it gave us, whatever for."""
        self._inbox = inbox
        self._socket = socket
        self._peers = peers
        self._observations = observations
        self._errands = errands
        self._changed = changed
        self._names = [Endpoint.parse(f"utp://{server}") for server in servers]
        self._servers: list[Address] = [each.address for each in self._names if not each.is_name]
        self._pool = WorkerPool("names", 1)
        self._surveyed: set[Address] = set()  # those that were asked in the latest survey
        self._good: list[Address] = []  # servers that have answered, the quickest first
        self._waiting: list[Callable[[], None]] = []
        self._wanted = False  # who only dials need not know, and opens no UDP port for it
        self._busy = False
        self._surveyed_at = float("-inf")
        self._outdated = True
        """Whether there is more to find out than the latest survey, which may still run, was begun for."""
        self._glanced_at = float("-inf")
        self._stopped = False

    # --- what is wanted -------------------------------------------------------------------------------

    def begin(self) -> None:
        """There is a socket that is listened on: find out about it."""
        self._wanted = True
        self.begin_again()

    def begin_again(self) -> None:
        """This machine's addresses have changed: find out anew, if anybody ever wanted to know."""
        self._outdated = True
        self._good.clear()
        if self._wanted and any(name.is_name for name in self._names):
            self._pool.submit(self._look_up)
        self.look()

    def look(self) -> None:
        """Find out what is not known yet, if anybody wants to know and there is somebody to ask."""
        if self._wanted and not self._busy and not self._stopped and self._may_survey():
            servers = self._whom_to_ask()
            if self.answered and not self._outdated and set(servers) <= self._surveyed:
                return  # they have said what they know
            sock = self._socket() if servers else None
            if sock is not None:
                self._survey(sock, servers)

    def when_known(self, call: Callable[[], None]) -> None:
        """Call it when as much is known as can be, as of now: at once, or after a question or a survey."""
        self._wanted = True
        self.look()
        sock = self._socket()
        if self._busy:
            self._waiting.append(call)
        elif self._stopped or sock is None or not self._good or self._is_recent():
            call()
        else:
            self._waiting.append(call)
            self._glance(sock)

    def _is_recent(self) -> bool:
        return not self.behaviour.mapping.dependent and now() - self._glanced_at < GLANCE_LIFETIME

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        self._waiting.clear()
        self._pool.close()

    def join(self, timeout: float) -> bool:
        """Wait for a name look-up; whether it ended. After `stop`."""
        return self._pool.join(timeout)

    # --- whom to ask ----------------------------------------------------------------------------------

    def _may_survey(self) -> bool:
        """One observer alone cannot tell how the NAT maps; the survey is worth another one when there are more."""
        unknown = self.behaviour.mapping is NatMapping.UNKNOWN
        return self._outdated or (unknown and now() - self._surveyed_at >= SURVEY_PAUSE)

    def _whom_to_ask(self) -> list[Address]:
        networks = interface_networks()
        # What peers tell of others may be private addresses of other networks; here, somebody else would have them.
        peers = [each for each in self._peers() if not is_local(each[0]) or is_in(each[0], networks)]
        known = [*self._servers, *peers]
        ipv4 = [each for each in dict.fromkeys(known) if ipaddress.ip_address(each[0].partition("%")[0]).version == 4]
        # Neighbours on the same side of the NAT would say that there is none.
        outside = [each for each in ipv4 if not is_local(each[0])]
        return (outside or ipv4)[:SURVEY_SERVERS]

    def _look_up(self) -> None:
        found: list[Address] = []
        for name in self._names:
            try:
                found += [each.address for each in resolve(name)]
            except CrustError as error:
                log.warning("stun_servers: %s: %s", name.host, error)
        self._inbox.put(notices.Do(lambda: self._looked_up(found)))

    def _looked_up(self, servers: list[Address]) -> None:
        news = set(servers) - set(self._servers)
        self._servers = servers
        if news:
            self._outdated = True
            self.look()

    # --- asking ---------------------------------------------------------------------------------------

    def _survey(self, sock: UtpSocket, servers: list[Address]) -> None:
        port = sock.local_address[1]
        self._outdated = False
        self._surveyed = set(servers)
        survey = Survey(servers, set(interface_addresses()), port, now())
        self._send_out(sock, survey, lambda: self._on_survey(survey, port), linger=None)

    def _glance(self, sock: UtpSocket) -> None:
        port = sock.local_address[1]
        counts = self.behaviour.mapping.dependent and self.behaviour.allocation is Allocation.SEQUENTIAL
        # To those that know us a NAT shows us at the port that it gave us for them, a fresh socket at the next one.
        glance = Glance(self._good[: 1 if counts else GLANCE_SERVERS], now(), spare=counts)
        self._send_out(sock, glance, lambda: self._glanced(glance, port, counts), linger=GLANCE_LINGER)

    def _send_out(self, sock: UtpSocket, machine: Machine, over: Callable[[], None], linger: float | None) -> None:
        ports: Mapping[int, UtpSocket] = {4: sock}
        extra = {} if linger is None else {"linger": linger}
        try:
            errand = Errand(ports, machine, lambda: self._inbox.put(notices.Do(over)), **extra)
        except (RuntimeError, OSError) as error:
            log.warning("nobody can be asked where they see this node: %s", error)
            self._call_waiting()
            return
        self._busy = True
        self._errands.add(errand)

    def _on_survey(self, survey: Survey, port: int) -> None:
        self._busy = False
        findings = survey.findings
        assert findings is not None
        self._surveyed_at = self._glanced_at = now()
        self.behaviour = findings.behaviour
        self.answered = len(findings.sightings)
        self.asked = self.answered + len(findings.failures)
        self._good = list(dict.fromkeys(sighting.observer for sighting in findings.sightings))
        for observer, seen in findings.sightings:
            self._observations.saw(Protocol.UTP, port, observer, seen, now())
        log.info("the way out of UDP port %d: %s; %d of %d answered", port, self.behaviour, self.answered, self.asked)
        self._changed()
        self._call_waiting()
        if self._outdated:
            self.look()

    def _glanced(self, glance: Glance, port: int, counts: bool) -> None:
        self._busy = False
        self._glanced_at = now()
        self.last_given = glance.sightings[-1].seen if counts and glance.sightings else None
        for observer, seen in [] if counts else glance.sightings:
            self._observations.saw(Protocol.UTP, port, observer, seen, now())
        if not glance.sightings:
            self._outdated = True  # who answered has gone, or we have moved
        self._changed()
        self._call_waiting()

    def _call_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()
