"""Throws random and mutated datagrams at a uTP multiplexer with live connections, and looks whether they notice.

Run it as long as you like::

    python -m tests.fuzz.fuzz_mux --count 5000000 --seed 7

Whoever attacks may use any address, that of a live peer too, and has seen packets, but does not know the numbers that
are in use *now*: a datagram with the id of a live connection and an acknowledgement that makes sense to it is left out.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from crust.errors import ConnectionLost, Malformed
from crust.threads.clock import now as clock_now
from crust.transport.utp.burst import Address
from crust.transport.utp.connection import UtpConnection
from crust.transport.utp.constants import RESETS_REMEMBERED
from crust.transport.utp.multiplexer import Multiplexer
from crust.transport.utp.packet import Packet, PacketType, decode, encode
from crust.transport.utp.states import State
from tests.fuzz.mutate import mutate

VICTIM = ("10.0.0.1", 7)
_PEERS = [(f"10.0.0.{number}", 7) for number in range(2, 6)]
_NOWHERE = ("10.9.9.9", 9)  # dialled, and silent
_STRANGERS = 20_000
_PER_SECOND = 5000  # datagrams
_PUMP, _TALK = 500, 10_000  # datagrams between two turns of the peers, and between two conversations
_RECORDED = 60  # genuine packets of each, of which the mutated ones are made
_BOUND = 3000  # entries in any table that strangers can fill


class Pair:
    """A live connection: its end at the victim, and at its peer."""

    def __init__(self, here: UtpConnection, there: UtpConnection) -> None:
        self.here, self.there = here, there
        self.states = here.state, there.state


class Siege:
    """A victim with live connections, its peers, and the attack.

    Args:
        seed: the same gives the same datagrams.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now = 1000.0
        self.sent: Counter[str] = Counter()
        self.balance: dict[Address, int] = {}
        """Bytes that a stranger's address sent, less those that it got."""
        self.lowest_balance = 0
        self.guessed = 0
        self.seeds = [encode(Packet(kind, 1, 2, 3, 4, 5, 6, sack=b"\1\0\0\0", payload=b"x")) for kind in PacketType]
        self.seeds_of: dict[Address, list[bytes]] = {address: [] for address in (VICTIM, *_PEERS)}
        self.victim = Multiplexer(rng=Random(seed + 1))
        self.victim.accepting = True
        self.muxes: dict[Address, Multiplexer] = {VICTIM: self.victim}
        for number, address in enumerate(_PEERS):
            mux = self.muxes[address] = Multiplexer(rng=Random(seed + 2 + number))
            mux.accepting = True
        self.pairs = [self._connect(VICTIM, peer) for peer in _PEERS] + [self._connect(peer, VICTIM) for peer in _PEERS]
        self.dialling = self.victim.connect(_NOWHERE, self.now)
        self._make_states_differ()

    # --- the living ---
    def _connect(self, source: Address, target: Address) -> Pair:
        mux, other = self.muxes[source], self.muxes[target]
        connection = mux.connect(target, self.now)
        self.pump()
        found = other.accepted.pop()
        pair = Pair(found, connection) if target == VICTIM else Pair(connection, found)
        assert connection.established
        return pair

    def _make_states_differ(self) -> None:
        """One has unread bytes, one a closed window, and two are half closed."""
        unread, full, ours, theirs = self.pairs[:4]
        unread.there.write(bytes(5000))
        full.there.write(bytes(2 << 20))
        ours.here.finish()
        theirs.there.finish()
        for pair in self.pairs[:4]:
            self._wake(pair)
        for _ in range(200):
            self.now += 0.01
            self.pump()
        for pair in self.pairs:
            pair.states = pair.here.state, pair.there.state
        assert ours.here.state is State.FIN_ACKED
        assert theirs.here.state is State.GOT_FIN
        assert full.there.stats().peer_window == 0

    def _wake(self, pair: Pair) -> None:
        self.victim.wake(pair.here, self.now)
        self.muxes[pair.here.address].wake(pair.there, self.now)

    def pump(self) -> None:
        """Run timers, and let everything that is sent arrive, until all are quiet."""
        for mux in self.muxes.values():
            mux.tick(self.now)
        busy = True
        while busy:
            busy = False
            for source, mux in self.muxes.items():
                while (burst := mux.next_burst(self.now)) is not None:
                    mux.sent(burst, burst.count, self.now)
                    busy = self._deliver(source, burst.address, burst.buffers) or busy
        for mux in self.muxes.values():
            mux.touched.clear()

    def _deliver(self, source: Address, target: Address, buffers: Sequence[bytes | memoryview]) -> bool:
        mux = self.muxes.get(target)
        for at in range(0, len(buffers), 2):
            data = b"".join(buffers[at : at + 2])
            if mux is not None:
                mux.receive(data, source, len(data), self.now)
                if len(self.seeds_of[source]) < _RECORDED:
                    self.seeds_of[source].append(data[:200])
                    self.seeds.append(data[:200])
            elif target != _NOWHERE:
                left = self.balance[target] = self.balance.get(target, 0) - len(data)
                self.lowest_balance = min(self.lowest_balance, left)
        return mux is not None

    def talk(self, size: int = 300) -> None:
        """Every connection carries something each way that its state allows, at once and without repetitions."""
        for pair in self.pairs[2:]:
            for source, target in ((pair.here, pair.there), (pair.there, pair.here)):
                if source.state not in (State.CONNECTED, State.GOT_FIN):
                    continue
                data = self.rng.randbytes(size)
                taken = source.write(data)
                got = b""
                for _ in range(200):
                    self._wake(pair)
                    self.pump()
                    got += target.read(1 << 20)
                    if len(got) == size and not source.stats().in_flight:
                        break
                    self.now += 0.005
                assert (taken, got) == (size, data), f"{len(got)} of {taken} bytes arrived"

    # --- the attack ---
    def attack(self) -> None:
        """One datagram, batch, or complaint."""
        rng = self.rng
        self.now += 1 / _PER_SECOND
        source: Address = rng.choice(_PEERS) if rng.random() < 0.4 else self._stranger()
        data, segment = self._datagram(self.seeds_of.get(source, self.seeds))
        if rng.random() < 0.02:
            if not self._knows_sent(data, source):
                self.victim.icmp(source, rng.choice((90, 111, 113)), rng.choice((None, 0, 600, 70_000)), data, self.now)
                self.sent["complaints"] += 1
            return
        if any(self._knows(data[at : at + segment], source) for at in range(0, len(data), segment)):
            self.sent["left out"] += 1
            return
        if source not in self.muxes:
            self.balance[source] = self.balance.get(source, 0) + len(data)
        self.sent["from a peer's address" if source in self.muxes else "from strangers"] += 1
        self.victim.receive(data, source, segment, self.now)

    def _stranger(self) -> Address:
        number = self.rng.randrange(_STRANGERS)
        return (f"172.16.{number // 250}.{number % 250}", 1)

    def _datagram(self, seeds: list[bytes]) -> tuple[bytes, int]:
        rng = self.rng
        kind = rng.random()
        if kind < 0.2:
            data = rng.randbytes(rng.choice((0, 1, 19, 20, 21, rng.randrange(200))))
        else:
            data = mutate(rng, seeds if rng.random() < 0.7 else self.seeds)
            # What would have to be guessed: the id, the numbers, or both.
            if rng.random() < 0.3:
                data = data[:2] + rng.randbytes(2) + data[4:]
            if rng.random() < 0.6 and len(data) >= 20:
                data = data[:16] + rng.randbytes(4) + data[20:]
        if kind > 0.9 and data:
            return data * rng.randrange(2, 20), max(len(data) - rng.choice((0, 0, 0, 1)), 1)
        return data, max(len(data), 1)

    def _knows(self, data: bytes, source: Address) -> bool:
        """Whether somebody would have to know a live connection's numbers to send this."""
        try:
            packet = decode(data)
        except Malformed:
            return False
        return self._fits(self.victim, source, packet) or self._fits_when_reflected(packet, source)

    @staticmethod
    def _fits(mux: Multiplexer, source: Address, packet: Packet) -> bool:
        connection = mux._find(packet, source)
        if connection is None or packet.type == PacketType.SYN:
            return False
        if connection.state is State.SYN_SENT:
            return packet.ack_nr == connection.syn_seq
        if packet.type == PacketType.RESET:
            return connection._sender.is_ours(packet.ack_nr)
        return connection._sender.ack_makes_sense(packet.ack_nr)

    def _fits_when_reflected(self, packet: Packet, source: Address) -> bool:
        """A stray is answered with a RESET to the address that it claims to be from."""
        mux = self.muxes.get(source)
        reset = packet._replace(type=PacketType.RESET, ack_nr=packet.seq_nr)
        return mux is not None and self._fits(mux, VICTIM, reset)

    def _knows_sent(self, data: bytes, target: Address) -> bool:
        """Whether a complaint quotes what may be a packet of a live connection: only its id has to be guessed."""
        sent_id = int.from_bytes(data[2:4])
        ids = {sent_id - 1 & 0xFFFF, sent_id, sent_id + 1 & 0xFFFF}
        return any((target, recv_id) in self.victim._connections for recv_id in ids)

    # --- the outcome ---
    def run(self, count: int, progress: Callable[[int], None] = lambda done: None) -> None:
        """Attack ``count`` times, and see to the living now and then."""
        for number in range(1, count + 1):
            self.attack()
            if number % _PUMP == 0:
                self.pump()
                self._accept()
                if self.dialling.over:
                    self.dialling = self.victim.connect(_NOWHERE, self.now)
            if number % _TALK == 0:
                self.talk()
                self.check()
                progress(number)

    def _accept(self) -> None:
        """Whoever guessed right has an empty connection; an application would find that nothing comes."""
        while self.victim.accepted:
            self.guessed += 1
            self.victim.fail(self.victim.accepted.popleft(), ConnectionLost("nothing comes"), self.now)

    def check(self) -> None:
        """Everything is as it must be."""
        for pair in self.pairs:
            assert (pair.here.state, pair.there.state) == pair.states
            for end in (pair.here, pair.there):
                assert end.error is None
                assert not end._receiver.buffer.has_early, "nothing is ever missing here"
                figures = end.stats()
                assert figures.timeouts == 0
                assert figures.losses == 0
                assert figures.retransmissions == 0 or pair is self.pairs[1], figures
        assert len(self.victim) <= len(self.pairs) + 1
        for name, size in self.sizes().items():
            assert size <= _BOUND, f"{size} {name}"
        assert self.lowest_balance >= -20 * 60 * self.guessed, "no stranger gets more than it sent"

    def sizes(self) -> dict[str, int]:
        """How large everything is that strangers might make grow."""
        mux = self.victim
        strangers, schedule = mux._strangers, mux._schedule
        assert len(strangers._resets) <= RESETS_REMEMBERED
        return {
            "half open": len(mux._half_open),
            "networks": len(mux._half_open._networks),
            "resets": len(strangers._resets),
            "answers": len(strangers.answers),
            "ready": len(mux._ready),
            "deadlines": len(schedule._heap) + len(schedule._wanted) + len(schedule._queued),
            "counters": len(mux.counters),
            "early bytes": sum(pair.here._receiver.buffer._early_bytes for pair in self.pairs),
        }

    def finish(self) -> None:
        """All connections still do what they are for, to their end."""
        assert _all_of(self.pairs[0].here) == bytes(5000)
        self.talk(50_000)
        for pair in self.pairs:
            for end in (pair.here, pair.there):
                end.finish()
            self._wake(pair)
        received = 0
        for _ in range(2000):
            self.now += 0.05
            for pair in self.pairs:
                late = _all_of(pair.here)
                assert not any(late)
                received += len(late)
                self._wake(pair)
            self.pump()
            if all(pair.here.over and pair.there.over for pair in self.pairs):
                break
        assert received == 2 << 20, "what waited for the closed window"
        for pair in self.pairs:
            for end in (pair.here, pair.there):
                assert end.over
                assert end.error is None
                assert end.at_end


def _all_of(connection: UtpConnection) -> bytes:
    """Everything that can be read."""
    return b"".join(iter(lambda: connection.read(1 << 20), b""))


def _resident() -> int:
    """Kilobytes of memory that this process holds; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4
    except OSError:
        return 0


def main(arguments: Sequence[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> int:
    """The command: 0, or the exception that should not have been."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz_mux", description="Attack a uTP multiplexer.")
    parser.add_argument("--count", type=int, default=200_000, help="datagrams (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="for other datagrams (%(default)s)")
    options = parser.parse_args(arguments)
    siege, start = Siege(options.seed), clock_now()
    memory: list[int] = []

    def progress(done: int) -> None:
        if done % max(options.count // 10 // _TALK * _TALK, _TALK) == 0:
            memory.append(_resident())
            say(f"{done:,} datagrams, {clock_now() - start:.0f} s, {memory[-1] / 1024:.1f} MiB\n")

    siege.run(options.count, progress)
    siege.finish()
    say(f"sent: {dict(siege.sent)}; guessed a number: {siege.guessed}; seen: {dict(siege.victim.counters)}\n")
    say("no connection noticed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
