"""`Surveyor`: finds out where others see the uTP port, and what the NAT in front of it does.

It asks the servers of the configuration, and connected peers, over STUN (RFC 8489): all of it once, when there is
somebody to ask, and again when this machine's addresses change; and quickly, where others see us now, before each
meeting. What was not learned is asked for again, of newcomers soon, of those who were silent after pauses that grow.
Between those it sends nothing. Belongs to the manager thread.
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
from crust.threads.timers import Timer, Timers
from crust.threads.workers import WorkerPool
from crust.transport.tcp import resolve
from crust.transport.utp import UtpSocket

log = logging.getLogger("crust.reach")

GLANCE_LIFETIME: Final = 25.0
"""Seconds for which a look at where others see us is recent, where all see the same: hardly any NAT forgets what is
idle sooner (RFC 4787 REQ-5 asks for two minutes)."""
SURVEY_SOON: Final = 2.0
"""Seconds after a survey that did not learn how the NAT maps, before newcomers are asked: they come together, when a
node starts. Doubled for each further survey in vain, up to `SURVEY_PAUSE`."""
SURVEY_PAUSE: Final = 30.0
"""Seconds after such a survey before those are asked once more that did not answer, and before names are looked up
again that could not be; doubled each time."""
SURVEY_PAUSE_LATEST: Final = 3600.0
"""The longest of these pauses: who is not there after a few minutes will not be for hours."""
GLANCE_LINGER: Final = 0.5
"""Seconds for which answers are still taken that come after a glance."""
_MOST_DOUBLINGS: Final = 16  # beyond every longest pause
_IPV6_ONLY: Final = "it has no IPv4 address, and over IPv6 there is no address translation to find out about"


class Surveyor:
    """See the module's text.

    Args:
        servers: ``stun_servers`` of the configuration.
        inbox: the manager's.
        timers: the manager's.
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
        timers: Timers,
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
        self._timers = timers
        self._socket = socket
        self._peers = peers
        self._observations = observations
        self._errands = errands
        self._changed = changed
        self._names = [Endpoint.parse(f"utp://{server}") for server in servers]
        self._found: dict[Endpoint, list[Address]] = {each: [each.address] for each in self._names if not each.is_name}
        self._not_found: dict[Endpoint, str] = {}  # names that could not be looked up the last time, and why
        self._looks_failed = 0  # how often in a row
        self._looking_up: Timer | None = None
        self._pool = WorkerPool("names", 1)
        self._surveyed: set[Address] = set()  # those that were asked in the latest survey
        self._silent: set[Address] = set()  # and those of them that did not answer
        self._in_vain = 0  # surveys in a row that did not learn how the NAT maps
        self._looking: Timer | None = None
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
        self._in_vain = self._looks_failed = 0
        self._good.clear()
        self._silent.clear()
        self._begin_look_up()
        self.look()

    def look(self) -> None:
        """Find out what is not known yet, if anybody wants to know and there is somebody to ask; later if not now."""
        if not self._wanted or self._busy or self._stopped:
            return
        if not self._outdated:
            if self.behaviour.mapping is not NatMapping.UNKNOWN:
                return
            soon = self._surveyed_at + min(_doubled(SURVEY_SOON, self._in_vain), SURVEY_PAUSE)
            if now() < soon:
                self._look_at(soon)
                return
        servers = self._whom_to_ask()
        if not self._outdated and set(servers) <= self._surveyed:
            if not self._silent:
                return  # one observer alone cannot tell how the NAT maps, and has said what it knows
            again = self._surveyed_at + min(_doubled(SURVEY_PAUSE, self._in_vain), SURVEY_PAUSE_LATEST)
            if now() < again:
                self._look_at(again)
                return
        sock = self._socket() if servers else None
        if sock is not None:
            self._survey(sock, servers)

    def _look_at(self, when: float) -> None:
        """Look at ``when``, or before; what is due then is decided then."""
        if self._looking is not None:
            if self._looking.pending and self._looking.when <= when:
                return
            self._looking.cancel()
        self._looking = self._timers.at(when, self.look)

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
        for timer in (self._looking, self._looking_up):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()
        self._pool.close()

    def join(self, timeout: float) -> bool:
        """Wait for a name look-up; whether it ended. After `stop`."""
        return self._pool.join(timeout)

    # --- whom to ask ----------------------------------------------------------------------------------

    def _whom_to_ask(self) -> list[Address]:
        networks = interface_networks()
        # What peers tell of others may be private addresses of other networks; here, somebody else would have them.
        peers = [each for each in self._peers() if not is_local(each[0]) or is_in(each[0], networks)]
        known = [*self._servers, *peers]
        # There may be more than fit into one survey: nobody waits behind those who have kept silent.
        known.sort(key=lambda each: each in self._silent)
        ipv4 = [each for each in dict.fromkeys(known) if _is_ipv4(each)]
        # Neighbours on the same side of the NAT would say that there is none.
        outside = [each for each in ipv4 if not is_local(each[0])]
        return (outside or ipv4)[:SURVEY_SERVERS]

    @property
    def _servers(self) -> list[Address]:
        return [address for name in self._names for address in self._found.get(name, ())]

    def failed(self) -> dict[str, str]:
        """The servers of the configuration that told nothing, as they are named there, and why."""
        found: dict[str, str] = {}
        for name in self._names:
            text = str(name).removeprefix("utp://")
            if name in self._not_found:
                found[text] = self._not_found[name]
            elif name in self._found:
                addresses = set(filter(_is_ipv4, self._found[name]))
                if not addresses:
                    found[text] = _IPV6_ONLY
                elif addresses <= self._silent:
                    found[text] = "it did not answer"
        return found

    def _begin_look_up(self) -> None:
        names = [name for name in self._names if name.is_name]
        if not self._wanted or self._stopped or not names:
            return
        try:
            self._pool.submit(lambda: self._look_up(names))
        except RuntimeError as error:
            log.warning("stun_servers: names cannot be looked up: %s", error)
            self._look_up_later()

    def _look_up(self, names: list[Endpoint]) -> None:
        """On a thread of the pool."""
        found: dict[Endpoint, list[Address]] = {}
        failed: dict[Endpoint, str] = {}
        for name in names:
            try:
                found[name] = [each.address for each in resolve(name)]
            except CrustError as error:
                failed[name] = str(error)
        self._inbox.put(notices.Do(lambda: self._looked_up(found, failed)))

    def _looked_up(self, found: dict[Endpoint, list[Address]], failed: dict[Endpoint, str]) -> None:
        before = set(self._servers)
        self._found.update(found)  # what a name stood for is as good as anything while nobody can say more
        for name in failed.keys() - self._not_found.keys():
            log.warning("stun_servers: %s: %s", name.host, failed[name])
        self._not_found = failed
        if failed:
            self._look_up_later()
        else:
            self._looks_failed = 0
        if set(self._servers) - before:
            self._outdated = True
            self.look()

    def _look_up_later(self) -> None:
        if self._looking_up is not None:
            self._looking_up.cancel()
        self._looks_failed += 1
        pause = min(_doubled(SURVEY_PAUSE, self._looks_failed), SURVEY_PAUSE_LATEST)
        self._looking_up = self._timers.at(now() + pause, self._begin_look_up)

    # --- asking ---------------------------------------------------------------------------------------

    def _survey(self, sock: UtpSocket, servers: list[Address]) -> None:
        port = sock.local_address[1]
        self._outdated = False
        self._surveyed = set(servers)
        survey = Survey(servers, set(interface_addresses()), port, now())
        if not self._send_out(sock, survey, lambda: self._on_survey(survey, port), linger=None):
            self._outdated = True
            self._look_at(now() + SURVEY_PAUSE)

    def _glance(self, sock: UtpSocket) -> None:
        port = sock.local_address[1]
        counts = self.behaviour.mapping.dependent and self.behaviour.allocation is Allocation.SEQUENTIAL
        # To those that know us a NAT shows us at the port that it gave us for them, a fresh socket at the next one.
        glance = Glance(self._good[: 1 if counts else GLANCE_SERVERS], now(), spare=counts)
        self._send_out(sock, glance, lambda: self._glanced(glance, port, counts), linger=GLANCE_LINGER)

    def _send_out(self, sock: UtpSocket, machine: Machine, over: Callable[[], None], linger: float | None) -> bool:
        """Whether it has begun; else those who wait were called."""
        ports: Mapping[int, UtpSocket] = {4: sock}
        extra = {} if linger is None else {"linger": linger}
        try:
            errand = Errand(ports, machine, lambda: self._inbox.put(notices.Do(over)), **extra)
        except (RuntimeError, OSError) as error:
            log.warning("nobody can be asked where they see this node: %s", error)
            self._call_waiting()
            return False
        self._busy = True
        self._errands.add(errand)
        return True

    def _on_survey(self, survey: Survey, port: int) -> None:
        self._busy = False
        findings = survey.findings
        assert findings is not None
        self._surveyed_at = self._glanced_at = now()
        self.behaviour = findings.behaviour
        self.answered = len(findings.sightings)
        self.asked = self.answered + len(findings.failures)
        self._in_vain = self._in_vain + 1 if self.behaviour.mapping is NatMapping.UNKNOWN else 0
        self._good = list(dict.fromkeys(sighting.observer for sighting in findings.sightings))
        self._silent = self._surveyed - set(self._good)
        for observer, seen in findings.sightings:
            self._observations.saw(Protocol.UTP, port, observer, seen, now())
        log.info("the way out of UDP port %d: %s; %d of %d answered", port, self.behaviour, self.answered, self.asked)
        self._changed()
        self._call_waiting()
        self.look()

    def _glanced(self, glance: Glance, port: int, counts: bool) -> None:
        self._busy = False
        self._glanced_at = now()
        self.last_given = glance.sightings[-1].seen if counts and glance.sightings else None
        for observer, seen in [] if counts else glance.sightings:
            self._observations.saw(Protocol.UTP, port, observer, seen, now())
        if not glance.sightings:
            self._outdated = True  # who answered has gone, or we have moved
            self._look_at(now() + SURVEY_PAUSE)  # not now: others may be about to meet us
        self._changed()
        self._call_waiting()

    def _call_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def _doubled(pause: float, times: int) -> float:
    """The pause after so many tries in vain: after the first as it is, then twice that, and so on."""
    return pause * float(2 ** min(max(times - 1, 0), _MOST_DOUBLINGS))


def _is_ipv4(address: Address) -> bool:
    return ipaddress.ip_address(address[0].partition("%")[0]).version == 4
