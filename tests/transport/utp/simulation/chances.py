"""A seed turned into a network and into what two applications do over it."""

from dataclasses import dataclass, replace
from random import Random

from crust.transport.utp.settings import UtpSettings
from tests.transport.utp.simulation.application import Plan
from tests.transport.utp.simulation.link import Conditions
from tests.transport.utp.simulation.node import Clock, Kernel

PATIENCE = 120.0  # seconds, of applications that get wrong bytes

WRAP = 2**32 / 1e6  # seconds until a timestamp of microseconds in 32 bits begins again


@dataclass(frozen=True, slots=True)
class Chances:
    """Everything that a seed decides."""

    there: Conditions
    back: Conditions
    clocks: tuple[Clock, Clock]
    kernels: tuple[Kernel, Kernel]
    settings: tuple[UtpSettings, UtpSettings]
    plans: tuple[Plan, Plan]
    rendezvous: float | None
    """Seconds by which the second side dials later; ``None``: only the first one dials."""
    listens: bool
    """Whether sides that dial each other also accept who dials them."""
    nats: tuple[bool, bool]
    """Whether a side is behind a NAT; where only the first one dials, only that one is."""
    strangers: float
    """Datagrams per second that a stranger sends to each side, at most, with made-up addresses."""

    @property
    def sure(self) -> bool:
        """Whether everything must arrive, because nothing here is enough to end a connection."""
        links = (self.there, self.back)
        return (
            not any(link.damages or link.loss > 0.1 for link in links)
            and all(end - start <= 2.0 for link in links for start, end in link.outages)
            and not any(plan.aborts for plan in self.plans)
        )

    @property
    def clean(self) -> bool:
        """Whether no packet is lost, late or without room, so that none has to be sent twice."""
        links_are = self.there.clean and self.back.clean and not any(link.rate for link in (self.there, self.back))
        first, second = self.settings
        there_is_room = first.receive_window >= self.plans[1].total and second.receive_window >= self.plans[0].total
        return links_are and there_is_room and not self.strangers


class NearTheWrap(Random):
    """Random numbers of which every other 16-bit one is just before they begin again at 0."""

    def getrandbits(self, bits: int, /) -> int:
        """As of `random.Random`, with the difference above."""
        drawn = super().getrandbits(bits)
        return drawn | 0xFFE0 if bits == 16 and drawn & 1 else drawn


def draw(seed: int) -> Chances:
    """What the seed decides: about one in seven has a clean network, the others have several faults at once."""
    rng = Random(f"chances {seed}")
    clean = rng.random() < 0.15
    there = _clean(rng) if clean else _conditions(rng)
    back = _clean(rng) if clean else there if rng.random() < 0.5 else _conditions(rng)
    plans = _plans(rng)
    if there.damages or back.damages:
        # What says that it arrived but did not is waited for, for ever; somebody has to lose patience.
        plans = replace(plans[0], aborts_at=PATIENCE), replace(plans[1], aborts_at=PATIENCE)
    return Chances(
        there,
        back,
        (_clock(rng), _clock(rng)),
        (_kernel(rng, clean), _kernel(rng, clean)),
        (_settings(rng), _settings(rng)),
        plans,
        rng.random() * 2.0 if rng.random() < 0.15 else None,
        rng.random() < 0.5,
        (rng.random() < 0.4, rng.random() < 0.4),
        rng.random() * 20.0 if rng.random() < 0.15 else 0.0,
    )


def _maybe(rng: Random, chance: float, value: float) -> float:
    return rng.random() * value if rng.random() < chance else 0.0


def _clean(rng: Random) -> Conditions:
    return Conditions(delay=rng.choice((0.0, 0.001, 0.01, 0.05, 0.2)), jitter=_maybe(rng, 0.2, 0.005))


def _conditions(rng: Random) -> Conditions:
    rate = rng.choice((20e3, 100e3, 1e6, 10e6)) if rng.random() < 0.4 else None
    changes = sorted((rng.random() * 5.0, rng.choice((10e3, 50e3, 2e6))) for _ in range(rng.randrange(3)))
    start = rng.random() * 3.0
    return Conditions(
        rate=rate,
        delay=rng.choice((0.0, 0.001, 0.01, 0.05, 0.2, 0.4)),
        jitter=_maybe(rng, 0.3, 0.1),
        in_order=rng.random() < 0.5,
        queue=rng.choice((3_000, 10_000, 50_000, 300_000)),
        loss=rng.choice((0.01, 0.05, 0.1, 0.2, 0.3)) if rng.random() < 0.45 else 0.0,
        duplicate=_maybe(rng, 0.2, 0.3),
        reorder=_maybe(rng, 0.25, 0.3),
        detour=rng.choice((0.005, 0.03, 0.3)),
        flip=_maybe(rng, 0.06, 0.1),
        truncate=_maybe(rng, 0.04, 0.1),
        mtu=rng.choice((548, 576, 900, 1232, 1400, 1471)) if rng.random() < 0.2 else 65_507,
        fragments=rng.random() < 0.5,
        icmp=rng.random() < 0.5,
        outages=((start, start + rng.choice((0.3, 2.0, 4.0, 40.0))),) if rng.random() < 0.1 else (),
        rates=tuple(changes) if rate and rng.random() < 0.3 else (),
    )


def _clock(rng: Random) -> Clock:
    offset = WRAP * rng.randint(1, 3) - rng.random() * 3.0 if rng.random() < 0.3 else rng.random() * 1e5
    drift = rng.choice((-1e-4, 1e-4, 5e-4, -5e-4)) if rng.random() < 0.2 else 0.0
    return Clock(offset, drift, rng.choice((1e-6, 1e-4, 1e-3)))


def _kernel(rng: Random, clean: bool) -> Kernel:
    return Kernel(
        rate=rng.choice((1e6, 50e6)) if rng.random() < 0.2 else None,
        buffer=rng.choice((4_000, 100_000, 1_000_000)),
        refuses=_maybe(rng, 0.2, 0.5),
        coalesces=_maybe(rng, 0.3, 0.002),
        segments=rng.random() < 0.5,
    )


def _settings(rng: Random) -> UtpSettings:
    return UtpSettings(
        receive_window=rng.choice((3_000, 10_000, 60_000, 1 << 20)) if rng.random() < 0.3 else 1 << 20,
        send_buffer=rng.choice((2_000, 20_000, 1 << 20)) if rng.random() < 0.3 else 1 << 20,
    )


def _plans(rng: Random) -> tuple[Plan, Plan]:
    waiting = rng.choice((None, None, 0, 1))
    gives_up = rng.choice((0, 1)) if rng.random() < 0.1 else None
    totals = [_total(rng), _total(rng)]
    first, second = (_plan(rng, totals[side], totals[1 - side], waiting == side, gives_up == side) for side in (0, 1))
    return first, second


def _total(rng: Random) -> int:
    if rng.random() < 0.06:
        return rng.randint(20_000, 100_000)
    return rng.choice((0, 1, rng.randint(1, 100), rng.randint(100, 3_000), rng.randint(3_000, 20_000)))


def _plan(rng: Random, total: int, comes: int, waits: bool, gives_up: bool) -> Plan:
    by_bytes = rng.random() < 0.5
    small = rng.random() < 0.2
    return Plan(
        total=total,
        largest_write=max(total // 20, 1) if small else 70_000,
        writing_pauses=_maybe(rng, 0.3, 1.0),
        largest_read=max(comes // 20, 5) if small else 70_000,
        reading_pauses=_maybe(rng, 0.2, 1.0),
        longest_pause=rng.choice((0.01, 0.2, 1.0)),
        begins_reading_at=_maybe(rng, 0.1, 5.0),
        waits_for_end=waits,
        aborts_after=rng.randint(0, max(total, 1)) if gives_up and by_bytes else None,
        aborts_at=rng.random() * 3.0 if gives_up and not by_bytes else None,
    )
