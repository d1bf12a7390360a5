"""The architecture as a test: imports go one way, and threads, clocks and sockets have homes.

What is imported only under ``TYPE_CHECKING`` does not count: it binds nobody when the program runs.
"""

import ast

import pytest

from tests.source_tree import crust_imports, modules, outside_imports, tree

# From the bottom to the top. A module imports only from lines above its own, never from its own.
# A new file gets the lowest line that is below everything it imports; make a new line rather than bend the rule.
LEVELS: list[tuple[str, str]] = [
    (
        "leaves: nothing of crust",
        "errors _version dissector transport.pcapng nat nat.routes nat.upnp_child nat.pinhole_child nat.keeping "
        "discovery reach reach.dial_back reach.relay transport transport.utp.sequence transport.utp.constants threads "
        "settings defence transport.relay links connecting finding manager",
    ),
    (
        "numbers and small values",
        "limits files defence.networks defence.metering defence.allowance discovery.beacon_links discovery.link_watch "
        "transport.inherited transport.utp.burst transport.utp.settings transport.utp.states",
    ),
    (
        "tables and timeouts",
        "transport.utp.half_open transport.utp.schedule transport.utp.liveness transport.utp.handlers",
    ),
    ("time, timers, and what wakes threads", "threads.clock threads.timers threads.waker"),
    ("threads, and those that a signal handler interrupts", "threads.workers threads.interrupted"),
    ("routers: bytes of SSDP, and where routers are (pure)", "nat.ssdp nat.paths"),
    ("files that processes share", "discovery.file_lock"),
    ("where and who", "endpoint identity defence.crowd defence.replays"),
    ("who may be in the middle of a handshake", "defence.places"),
    ("who may be where, and how far one looks", "discovery.contact discovery.reach"),
    (
        "who behaves, and whom to dial (pure)",
        "discovery.conduct discovery.target_connections discovery.contact_book discovery.bootstrap_status",
    ),
    ("a cache of contacts: its bytes (pure)", "discovery.cache_record"),
    ("a cache of contacts: its table, its slots (pure)", "discovery.cache_table discovery.cache_slots"),
    ("a cache of contacts: its file", "discovery.cache_file"),
    ("a cache of contacts: its face", "discovery.bootstrap_cache"),
    ("what the user is told, and may set", "event settings.checks"),
    ("files of settings", "settings.yaml_files settings.search"),
    ("settings", "config"),
    (
        "bytes to values and back (pure)",
        "transport.framing transport.aead transport.hello transport.noise transport.utp.packet",
    ),
    (
        "relayed connections: data and credit; questions for a sign of life (pure)",
        "transport.relay.carried links.pings",
    ),
    ("relayed connections: notes (pure)", "transport.relay.notes"),
    ("relayed connections: channels", "transport.relay.channels"),
    (
        "what uTP measures, and what follows (pure)",
        "transport.utp.round_trip transport.utp.delay transport.utp.ledbat transport.utp.path_mtu "
        "transport.utp.acknowledgements transport.utp.padding transport.utp.train transport.utp.receive_buffer "
        "transport.utp.outgoing",
    ),
    ("what uTP keeps of what it sends (pure)", "transport.utp.send_buffer"),
    ("half of a uTP connection (pure)", "transport.utp.sender transport.utp.receiver transport.utp.strangers"),
    ("figures, and packets", "transport.utp.stats transport.utp.assembly"),
    ("a uTP connection (pure)", "transport.utp.connection"),
    ("what the network complains about (pure)", "transport.utp.complaints"),
    ("all uTP connections (pure)", "transport.utp.multiplexer"),
    ("secrets on the wire (pure)", "transport.masking transport.records"),
    ("what nodes sign of themselves (pure)", "discovery.contact_record"),
    ("what gossip knows (pure)", "discovery.record_store"),
    ("what gossip says (pure)", "discovery.gossip_messages"),
    ("how gossip gives and takes (pure)", "discovery.exchange discovery.intake"),
    ("gossip (pure)", "discovery.gossip"),
    ("a cache of contacts, opened when needed", "discovery.cache_keeper"),
    ("datagrams of the beacon (pure)", "discovery.beacon_packet"),
    ("whom a beacon knows (pure)", "discovery.beacon_census"),
    ("what a beacon says, and how (the first is pure)", "discovery.beacon_core discovery.beacon_sockets"),
    ("the thread of a beacon", "discovery.beacon_loop"),
    ("the beacon", "discovery.beacon"),
    ("who is on the LAN", "discovery.scan"),
    ("addresses: bytes of STUN, ranges (pure)", "nat.stun nat.ranges nat.outgoing"),
    ("addresses: both sides of STUN, and what NATs do (pure)", "nat.stun_client nat.stun_server nat.behaviour"),
    ("addresses: what others see (pure)", "nat.observations nat.survey"),
    ("addresses: a quick look (pure)", "nat.glance"),
    ("addresses: in words, and in a line (pure)", "nat.nat_report nat.connection_info"),
    ("meeting: when, where, and what (pure)", "nat.meeting nat.punch_plan nat.punch_packet"),
    ("meeting: the way through (pure)", "nat.punch nat.punch_gate nat.tcp_punch"),
    ("meeting: what its threads have in common", "nat.errand_thread"),
    ("meeting: threads and ports", "nat.errand nat.stun_responder"),
    ("routers: what is known of them (pure)", "nat.mapping_report nat.upnp_messages"),
    ("routers: calls over UPnP, and answers of the other protocols", "nat.upnp nat.gateway_answer"),
    ("routers: bytes of NAT-PMP and PCP (pure)", "nat.natpmp nat.pcp"),
    ("routers: keeping ports mapped over those (pure)", "nat.lease_keeper"),
    ("routers: keeping ports mapped over UPnP (pure)", "nat.upnp_keeper"),
    ("routers: which method to use (pure)", "nat.gateway_session"),
    ("routers: sockets", "nat.mapper_sockets"),
    ("routers: the thread of a port mapper", "nat.mapper_loop"),
    ("routers: the port mapper", "nat.port_mapper"),
    ("the handshake, secure and in clear (pure)", "transport.handshake transport.tracer_hello"),
    ("the handshake where both have dialled (pure)", "transport.crossing"),
    ("who is connected (pure)", "links.peers defence.blacklist"),
    (
        "who is connected, and who only says so (pure); who is unwelcome, in a file",
        "links.claims defence.blacklist_file defence.ledger",
    ),
    ("queues", "channel links.outbox"),
    ("events out to the user", "manager.outlet"),
    (
        "streams, and what relays them",
        "transport.base transport.grip transport.relay.forwarding transport.relay.stream",
    ),
    ("sharing a listening port", "transport.shared_port"),
    ("sockets", "transport.tcp transport.link nat.interfaces"),
    ("the address that packets bear", "nat.source_address"),
    ("meeting: dialling from the listening port", "nat.tcp_dials"),
    ("meeting: the thread of that", "nat.tcp_errand"),
    ("frames in clear, and written down", "transport.tracer transport.capture"),
    ("datagrams in bulk", "transport.utp.icmp transport.utp.udp_options"),
    ("datagrams that go out where others came in", "transport.utp.source_pins"),
    ("the socket of uTP", "transport.utp.datagrams"),
    ("the blocking face of a uTP connection", "transport.utp.stream"),
    ("what is sent from the UDP port beside uTP", "transport.utp.raw_datagrams"),
    ("the thread of uTP", "transport.utp.udp_port"),
    ("a UDP port with uTP on it", "transport.utp.utp_socket"),
    ("the package of uTP", "transport.utp"),
    ("the UDP ports of a manager", "connecting.utp_ports"),
    ("all listening sockets", "connecting.listening"),
    ("the choice, as it is said", "connecting.choice"),
    ("from a stream to a chosen connection", "connecting.negotiate"),
    ("how a node is reached: in words, and letters (pure)", "nat.nat_status reach.letters"),
    ("how many letters, and who waits (pure)", "reach.letter_pace reach.waiting_line"),
    (
        "dialling back: what is said, who may have it, and what follows (pure)",
        "reach.dial_back.notes reach.dial_back.gate reach.dial_back.voices",
    ),
    ("what threads tell the manager", "connecting.notices"),
    ("a connection: what is told of it, and how far it reads ahead", "links.connection_info links.pace"),
    ("a connection, without its threads", "links.connection"),
    ("what threads around streams tell, and what they may bring", "links.connection_news defence.toll"),
    ("threads around streams, and on the LAN", "links.reading links.writing connecting.acceptor finding.lan"),
    ("connections that others replace", "connecting.retired"),
    ("all connections", "connecting.connections"),
    ("connections that the machine has left behind", "finding.moves"),
    ("one outgoing attempt", "connecting.attempts"),
    ("whose turn it is", "connecting.turns"),
    ("threads that dial", "connecting.dialing"),
    ("what the parts of a manager stand on", "connecting.ground"),
    ("one contact being dialled, and what a search for peers has to ask", "finding.surroundings finding.trial"),
    ("rounds of dialling, and gossip", "finding.bootstrap finding.gossiping"),
    ("where this machine is", "finding.own_addresses"),
    ("all ways to find peers, and who is turned away", "finding.finder manager.gatekeeper"),
    ("dialling back: the thread", "reach.dial_back.errand"),
    ("dialling back: for others, and for us", "reach.dial_back.service reach.dial_back.asker"),
    ("dialling back", "reach.dial_back.dial_back"),
    ("threads that a node sends out", "reach.errands"),
    ("where a node is seen: asking", "reach.surveyor reach.sounder"),
    ("where a node is, as others see it", "reach.outside"),
    ("relayed connections: being in the middle", "reach.relay.desk"),
    ("relayed connections", "reach.relay.relays"),
    ("meeting peers: arranging it, and doing it", "reach.meetings reach.encounter"),
    ("peers that are wanted", "reach.wishes"),
    ("all ways to reach peers, and to be reached", "reach.reach"),
    ("what a manager is made of", "manager.parts"),
    ("the manager thread", "manager.core"),
    ("what is given to the public class (pure), and how managers end", "manager.arguments manager.ending"),
    ("two parts of the public class", "manager.admission manager.reachability"),
    ("the public class", "connection_manager"),
    ("the package", "__init__"),
    ("programs (among themselves: any order, but no circles)", "cli cli.*"),
    ("python -m crust", "__main__"),
]

PURE_NAMES = (
    "_version errors limits threads.timers endpoint discovery.contact discovery.cache_record discovery.cache_table "
    "discovery.conduct discovery.target_connections discovery.contact_book discovery.bootstrap_status "
    "discovery.contact_record discovery.record_store discovery.gossip_messages discovery.exchange discovery.intake "
    "discovery.gossip discovery.cache_slots defence.allowance discovery.beacon_packet discovery.beacon_census "
    "discovery.beacon_core event settings.checks settings.yaml_files links.peers links.claims defence.networks "
    "defence.metering transport.framing transport.aead transport.hello transport.noise transport.masking "
    "transport.records transport.handshake transport.crossing transport.tracer_hello transport.utp.sequence "
    "transport.utp.packet transport.utp.round_trip transport.utp.delay transport.utp.ledbat transport.utp.path_mtu "
    "transport.utp.constants transport.utp.burst transport.utp.settings transport.utp.states transport.utp.stats "
    "transport.utp.half_open transport.utp.schedule transport.utp.liveness transport.utp.handlers "
    "transport.utp.assembly transport.utp.strangers transport.utp.receiver transport.utp.acknowledgements "
    "transport.utp.padding transport.utp.train transport.utp.receive_buffer transport.utp.outgoing "
    "transport.utp.send_buffer transport.utp.sender nat.ssdp nat.paths nat.mapping_report nat.upnp_messages "
    "nat.gateway_answer nat.natpmp nat.pcp nat.lease_keeper nat.upnp_keeper nat.gateway_session nat.keeping nat.stun "
    "nat.stun_client nat.stun_server nat.behaviour nat.observations nat.ranges nat.survey nat.nat_report "
    "nat.punch_plan nat.punch_packet nat.punch nat.punch_gate nat.connection_info nat.meeting nat.tcp_punch "
    "nat.outgoing nat.glance reach.letters reach.letter_pace reach.waiting_line nat.nat_status reach.dial_back.notes "
    "reach.dial_back.gate reach.dial_back.voices transport.relay.carried transport.relay.notes links.pings "
    "transport.utp.connection "
    "transport.utp.multiplexer transport.utp.complaints"
)
"""Values and state machines: tested without sockets, threads or clocks, because they have none."""
PURE = PURE_NAMES.split()

IMPURE_PACKAGES = {
    "socket",
    "select",
    "selectors",
    "ssl",
    "threading",
    "time",
    "subprocess",
    "multiprocessing",
    "asyncio",
}


def level_of(module: str) -> int:
    for number, (_, names) in enumerate(LEVELS):
        for name in names.split():
            if module == name or (name.endswith(".*") and module.startswith(name[:-1])):
                return number
    raise LookupError(
        f"{module} is not in LEVELS of {__file__}: give it the lowest line above which all its imports stand"
    )


def described(number: int) -> str:
    return f"line {number} ({LEVELS[number][0]})"


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    own = level_of(module)
    wrong = [
        f"{module} in {described(own)} imports {other} in {described(level_of(other))}"
        for other in sorted(crust_imports(module))
        if level_of(other) >= own and not (module.startswith("cli") and other.startswith("cli"))
    ]
    assert not wrong, "only lines further up may be imported; move the file, or what it needs:\n" + "\n".join(wrong)


def test_the_table_names_only_files_that_exist() -> None:
    named = {name for _, names in LEVELS for name in names.split() if not name.endswith(".*")}
    assert named - set(modules()) == set()
    assert set(PURE) - set(modules()) == set()


def test_programs_import_each_other_without_circles() -> None:
    left = {module: set(crust_imports(module)) for module in modules() if module.startswith("cli")}
    while ready := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in ready:
            del left[module]
    assert not left, f"these import each other in a circle, or are imported by one that does: {sorted(left)}"


@pytest.mark.parametrize("module", PURE)
def test_what_is_pure_has_no_socket_thread_or_clock(module: str) -> None:
    assert outside_imports(module) & IMPURE_PACKAGES == set()


@pytest.mark.parametrize("module", modules())
def test_time_is_read_in_one_place(module: str) -> None:
    if module != "threads.clock" and not module.startswith("cli"):
        assert "time" not in outside_imports(module), (
            "take the time from crust.threads.clock, so that tests can be sure of it"
        )


@pytest.mark.parametrize("module", modules())
def test_threads_are_made_in_one_place(module: str) -> None:
    made = [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("threading.Thread", "Thread", "threading.Timer")
    ]
    if module != "threads.workers":
        assert not made, (
            f"line {made}: use crust.threads.workers, whose threads are named, joined, and report what they die of"
        )


@pytest.mark.parametrize("module", [module for module in modules() if not module.startswith("cli")])
def test_the_library_does_not_need_what_only_the_command_needs(module: str) -> None:
    assert outside_imports(module) & {"rich", "prompt_toolkit", "argparse", "matplotlib"} == set()


@pytest.mark.parametrize("module", modules())
def test_a_file_fits_in_a_head(module: str) -> None:
    lines = modules()[module].read_text("utf-8").count("\n")
    assert lines <= 400, f"{module} has {lines} lines; find the seam and split it"
