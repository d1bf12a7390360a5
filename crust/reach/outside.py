"""`Outside`: where this node is, as others see it: mapped ports, what peers and servers say, and what follows from it.

Belongs to the manager thread; `external` may be read by any.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from crust.config import Config
from crust.connecting import notices
from crust.connecting.utp_ports import UtpPorts
from crust.discovery.reach import isolated, on_this_machine_only
from crust.endpoint import Address, Endpoint, Port, Protocol
from crust.errors import EndpointError
from crust.event import AnyEvent, ExternalEndpoints
from crust.identity import PeerId
from crust.links.connection import Connection
from crust.nat.behaviour import Allocation, Behaviour
from crust.nat.connection_info import Candidate, CandidateKind, ConnectionInfo, sendable
from crust.nat.interfaces import interface_addresses, own_endpoints
from crust.nat.mapping_report import MappingReport
from crust.nat.nat_report import NatReport
from crust.nat.observations import Confidence, Observations
from crust.nat.port_mapper import PortMapper
from crust.nat.punch_plan import candidates_for
from crust.nat.ranges import is_local
from crust.nat.stun_responder import StunResponder
from crust.nat.stun_server import StunServer
from crust.reach.errands import Errands
from crust.reach.sounder import Sounder, latest
from crust.reach.surveyor import Surveyor
from crust.threads.clock import now
from crust.threads.timers import Timers
from crust.transport.framing import ADDRESS, control_frame

log = logging.getLogger("crust.reach")

_KEPT_SIGHTINGS: Final = 4  # outer addresses in an info that are not mapped: two transports, and a second look


class Outside:
    """See the module's text.

    Args:
        own_id: who we are.
        config: for ``upnp`` and ``stun_servers``.
        inbox: the manager's.
        timers: the manager's.
        utp: the UDP sockets.
        errands: where threads are kept.
        peers: the uTP addresses of peers that can be asked where they see us.
        emit: gives an event to the user.
        moved: called when `external` has changed.
        sounder: looks which TCP port a NAT gives; ``None``: nobody does.
    """

    def __init__(
        self,
        own_id: PeerId,
        config: Config,
        inbox: notices.Inbox,
        timers: Timers,
        utp: UtpPorts,
        errands: Errands,
        peers: Callable[[], list[Address]],
        emit: Callable[[AnyEvent], None],
        moved: Callable[[], None],
        sounder: Sounder | None = None,
    ) -> None:
        self.external: tuple[Endpoint, ...] = ()
        """Where peers anywhere can reach us, beside this machine's own addresses. Replaced whole."""
        self.claims: tuple[Endpoint, ...] = ()
        """The same, and where others see us but are known not to get in. Replaced whole."""
        self.refuted: Callable[[Endpoint], bool] = lambda endpoint: False
        """Whether peers have tried in vain to reach us there; `reconsider` when that changes."""
        self._own_id = own_id
        self._config = config
        self._inbox = inbox
        self._utp = utp
        self._emit = emit
        self._moved = moved
        self._sounder = sounder
        self._stopped = False
        self._bound: list[Endpoint] = []
        self._own: list[str] = []
        self._told: dict[Connection, Address] = {}
        self._observations = Observations()
        self._mapped = MappingReport()
        self._mapper: PortMapper | None = None
        self._surveyor = Surveyor(
            config.stun_servers,
            inbox,
            timers,
            lambda: utp.to_meet_at(4),
            peers,
            self._observations,
            errands,
            self._update,
        )

    # --- what happens ---------------------------------------------------------------------------------

    def listening(self, bound: list[Endpoint]) -> None:
        """``start_listening()`` was called; where its sockets are bound."""
        self._bound = bound
        self._own = interface_addresses()
        for sock in self._utp.listening:
            sock.add_handler(StunResponder(StunServer(), sock.send_datagram))
        if not on_this_machine_only(self._config.listen_addresses):
            self._map_ports()
        if self._utp.listening:
            self._surveyor.begin()

    def addresses_changed(self) -> None:
        """An interface came or went."""
        self._own = interface_addresses()
        self._observations.forget()
        self._told.clear()
        self._surveyor.begin_again()
        if self._mapper is not None:
            self._mapper.refresh()
        self._update()

    def came(self, connection: Connection) -> None:
        """There is a connection: tell the peer where we see it, which it cannot know."""
        if connection.peer_id.proven:
            connection.outbox.put_control(control_frame(ADDRESS, {"seen": str(connection.endpoint)}))
        self._surveyor.look()

    def look(self) -> None:
        """Somebody may be there who was not, and can be asked where they see us."""
        self._surveyor.look()

    def told(self, connection: Connection, content: dict[str, Any]) -> None:
        """A peer says where it sees us."""
        text, local = content.get("seen"), connection.local
        if not isinstance(text, str) or local is None or not connection.peer_id.proven:
            return
        if (local.protocol, local.port) not in {(each.protocol, each.port) for each in self._bound}:
            return  # where we dialled from, to which nobody can send
        try:
            seen = Endpoint.parse(text)
            if seen.is_name or seen.protocol is not local.protocol:
                return
        except EndpointError:
            return
        if self._observations.saw(local.protocol, local.port, connection.endpoint.address, seen.address, now()):
            self._told[connection] = seen.address
            self._update()

    def went(self, connection: Connection) -> None:
        """A connection is over."""
        self._told.pop(connection, None)

    def _recall(self) -> None:
        """What a peer has said holds for as long as its connection does: the NAT has the port for it.

        But of a NAT that has another port for each peer, the one that was seen last is to remain the last.
        """
        dependent = self._surveyor.behaviour.mapping.dependent
        for connection, seen in self._told.items():
            local = connection.local
            if dependent and local.protocol is Protocol.UTP:
                continue
            self._observations.saw(local.protocol, local.port, connection.endpoint.address, seen, now())

    def translated(self, target: Endpoint) -> bool:
        """Whether somebody outside cannot see this machine's own address: it has none that is anybody else's too."""
        version = 6 if ":" in target.host else 4
        same = [host for host in self._own if (6 if ":" in host else 4) == version]
        return bool(same) and all(map(is_local, same))

    def stop(self) -> None:
        """Ask nobody any more, and begin to end mappings."""
        self._stopped = True
        self._surveyor.stop()
        if self._sounder is not None:
            self._sounder.stop()
        if self._mapper is not None:
            self._mapper.end()

    def join(self, timeout: float) -> None:
        """Wait for what `stop` has begun."""
        if self._mapper is not None:
            self._mapper.stop()
        self._surveyor.join(timeout)
        if self._sounder is not None:
            self._sounder.join(timeout)

    # --- mapped ports ---------------------------------------------------------------------------------

    def _map_ports(self) -> None:
        if not self._config.upnp or isolated() or self._mapper is not None:
            return
        ports = [Port(each.protocol, each.port) for each in self._bound if each.protocol is not Protocol.TRACER]
        mapper = PortMapper(lambda: ports, lambda report: self._inbox.put(notices.Do(lambda: self._on_mapped(report))))
        try:
            mapper.start()
        except (RuntimeError, OSError) as error:
            log.warning("no router is asked to let peers in: %s", error)
            return
        self._mapper = mapper

    def _on_mapped(self, report: MappingReport) -> None:
        self._mapped = report
        self._update()

    def _update(self) -> None:
        """Something may be known that was not."""
        if self._stopped:
            return  # mappings end because we end them
        mapped, seen = self._mapped.endpoints, self._confirmed()
        # A router that maps a port means it, and one peer may err; that others see an address says less than a try.
        found = tuple(dict.fromkeys((*mapped, *(each for each in seen if not self.refuted(each)))))
        claims = tuple(dict.fromkeys((*mapped, *seen)))
        if set(found) == set(self.external) and set(claims) == set(self.claims):
            return
        told = set(found) != set(self.external)
        self.external, self.claims = found, claims
        if told:
            log.info("peers elsewhere can reach this node at: %s", ", ".join(map(str, found)) or "nowhere")
            self._emit(ExternalEndpoints(found))
        self._moved()

    def reconsider(self) -> None:
        """Peers have tried to reach us, and what came of it may make a difference."""
        self._update()

    def _confirmed(self) -> list[Endpoint]:
        """Where enough of those who are not neighbours see us, and which is not an address of ours."""
        self._recall()
        own = set(interface_addresses())
        found = []
        for protocol, port in dict.fromkeys((each.protocol, each.port) for each in self._bound):
            for believed in self._observations.addresses(protocol, port, now()):
                host = believed.address[0]
                if believed.confidence is Confidence.CONFIRMED and host not in own and not is_local(host):
                    found.append(Endpoint(protocol, *believed.address))
        return found

    # --- meeting others -------------------------------------------------------------------------------

    def prepare(self, call: Callable[[ConnectionInfo], None]) -> None:
        """Call it with all that somebody needs to meet us, as of now."""
        sounder = self._sounder
        if sounder is None:
            self._surveyor.when_known(lambda: call(self._info()))
            return
        begun = self._counts_tcp
        if begun:
            sounder.begin()

        def known() -> None:
            if not begun and self._counts_tcp:
                sounder.begin()
            sounder.when_over(lambda: call(self._info()))

        self._surveyor.when_known(known)

    @property
    def _counts_tcp(self) -> bool:
        """Whether the NAT gives the next port to each dial from the port that we listen on."""
        behaviour = self._surveyor.behaviour
        counts = behaviour.mapping.dependent and behaviour.allocation is Allocation.SEQUENTIAL
        return counts and any(each.protocol is Protocol.TCP for each in self._bound)

    @property
    def behaviour(self) -> Behaviour:
        """What the NAT in front of the uTP port does, as far as is known."""
        return self._surveyor.behaviour

    def _info(self) -> ConnectionInfo:
        mapped = [*self._mapped.endpoints]
        reflexive = self._seen()
        hosts = own_endpoints(self._listening_bound(), interface_addresses())
        candidates = candidates_for(hosts, mapped, reflexive)
        candidates += self._guesses(reflexive, {*hosts, *mapped, *reflexive})
        return ConnectionInfo(self._own_id, sendable(candidates), self._surveyor.behaviour)

    def _listening_bound(self) -> Iterable[Endpoint]:
        bound = [each for each in self._bound if each.protocol is not Protocol.TRACER]
        if any(each.protocol is Protocol.UTP for each in bound):
            return bound
        if on_this_machine_only(self._config.listen_addresses):
            return bound  # the port to dial from is open to everybody
        sock = self._utp.to_meet_at(4)
        return bound if sock is None else [*bound, Endpoint.utp(sock.local_address)]

    def _seen(self) -> list[Endpoint]:
        """Where others see the ports that we would be met at; of a NAT that counts ports, the last one."""
        found = []
        moment = now()
        self._recall()
        last_udp, last_tcp = self._last_given()
        for endpoint in self._listening_bound():
            protocol, port = endpoint.protocol, endpoint.port
            if protocol is Protocol.UTP and self._surveyor.behaviour.mapping.dependent:
                addresses = [sighting.seen for sighting in self._observations.sightings(protocol, port, moment)][-1:]
                if last_udp is not None:
                    addresses = [last_udp]
            else:
                addresses = [believed.address for believed in self._observations.addresses(protocol, port, moment)]
                if protocol is Protocol.TCP and last_tcp is not None:
                    addresses = [last_tcp, *(each for each in addresses if ":" in each[0])]
            found += [Endpoint(protocol, *address) for address in addresses]
        return list(dict.fromkeys(found))[:_KEPT_SIGHTINGS]

    def _last_given(self) -> tuple[Address | None, Address | None]:
        """Of a NAT that counts ports, the last ones that it gave us, for UDP and for TCP."""
        udp = self._surveyor.last_given
        tcp = self._sounder.last_given if self._sounder is not None and self._counts_tcp else None
        if udp is not None and tcp is not None and udp[0] != tcp[0]:
            tcp = None  # one of two voices is wrong, or lies
        return latest(udp, tcp, self._surveyor.behaviour.delta)

    def _guesses(self, seen: list[Endpoint], known: set[Endpoint]) -> list[Candidate]:
        """Most NATs keep the port where they can: where TCP was not seen, it may be there all the same."""
        if any(each.protocol is Protocol.TCP for each in seen):
            return []
        ports = dict.fromkeys(each.port for each in self._bound if each.protocol is Protocol.TCP)
        hosts = dict.fromkeys(each.host for each in seen)
        guessed = (Endpoint.tcp((host, port)) for host in hosts for port in ports)
        return [Candidate(CandidateKind.PREDICTED, each) for each in guessed if each not in known]

    # --- for people -----------------------------------------------------------------------------------

    def report(self) -> NatReport:
        """How the way out over IPv4 behaves, as far as is known."""
        surveyor, address = self._surveyor, None
        sock = self._utp.to_meet_at(4)
        if sock is not None:
            port = sock.local_address[1]
            consistent = not surveyor.behaviour.mapping.dependent
            look = self._observations.addresses if consistent else self._observations.hosts
            address = next(iter(look(Protocol.UTP, port, now())), None)
        utp = not self._bound or any(each.protocol is Protocol.UTP for each in self._bound)
        failed = tuple(surveyor.failed().items())
        return NatReport(surveyor.behaviour, address, surveyor.asked, surveyor.answered, failed, utp)

    def mapping_report(self) -> MappingReport:
        """What routers let in."""
        return self._mapped
