"""Many seeds, in as many processes as one likes, and what they came to in all."""

import multiprocessing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.transport.utp.simulation.scenario import Failed, run

FAILURES_SHOWN = 10


@dataclass(slots=True)
class Summary:
    """What many runs came to."""

    runs: int = 0
    complete: int = 0
    packets: int = 0
    steps: int = 0
    written: int = 0
    resent: int = 0
    slowest: float = 0.0
    """Seconds of virtual time of the longest run."""
    slowest_seed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        """Count another one's runs as well."""
        for name in ("runs", "complete", "packets", "steps", "written", "resent"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.slowest > self.slowest:
            self.slowest, self.slowest_seed = other.slowest, other.slowest_seed
        for error, count in other.errors.items():
            self.errors[error] = self.errors.get(error, 0) + count
        self.failures += other.failures

    def __str__(self) -> str:
        lines = [
            f"{self.runs} runs, {self.complete} complete, {len(self.failures)} failed; {self.packets} packets, "
            f"{self.resent} of them again, {self.written} bytes; {self.steps} steps; "
            f"the longest took {self.slowest:.1f} s of virtual time (seed {self.slowest_seed})"
        ]
        lines += [f"  {count} x {error}" for error, count in sorted(self.errors.items(), key=lambda item: -item[1])]
        lines += self.failures[:FAILURES_SHOWN]
        return "\n".join(lines)


def run_some(seeds: Iterable[int]) -> Summary:
    """Run these seeds, one after another; failures are gathered."""
    summary = Summary()
    for seed in seeds:
        summary.runs += 1
        try:
            outcome = run(seed)
        except Failed as error:
            summary.failures.append(str(error))
            continue
        summary.complete += outcome.complete
        summary.packets += outcome.packets
        summary.steps += outcome.steps
        summary.written += outcome.written
        summary.resent += outcome.resent
        if outcome.seconds > summary.slowest:
            summary.slowest, summary.slowest_seed = outcome.seconds, seed
        for text in outcome.errors:
            summary.errors[text] = summary.errors.get(text, 0) + 1
    return summary


def run_all(seeds: Sequence[int], processes: int = 1) -> Summary:
    """Run these seeds in several processes."""
    if processes == 1:
        return run_some(seeds)
    summary = Summary()
    shares = [seeds[start : start + 250] for start in range(0, len(seeds), 250)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for part in pool.imap_unordered(run_some, shares):
            summary.add(part)
    return summary
