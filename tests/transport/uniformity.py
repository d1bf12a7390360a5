"""Whether bytes look uniformly random: Pearson's chi-square test, from both ends."""

from collections import Counter
from collections.abc import Iterable, Sequence


def surprise(data: Iterable[int]) -> float:
    """How far the counts of the 256 byte values are from those of uniformly random bytes, in standard deviations.

    Negative means more even than chance would make them. Uniform bytes give more than 7 either way once in 10**11 tests
    (Wilson and Hilferty's approximation). Give at least 1280 bytes: 5 of each value.
    """
    counts = Counter(data)
    total = counts.total()
    assert total >= 1280, "too few bytes for this test to mean anything"
    expected = total / 256
    statistic = sum((counts[value] - expected) ** 2 for value in range(256)) / expected
    spread = 2 / (9 * 255)
    cube_root: float = (statistic / 255) ** (1 / 3)
    return (cube_root - (1 - spread)) / spread**0.5


def assert_uniform(samples: Sequence[bytes], positions: int) -> None:
    """Each of the first ``positions`` bytes over all samples, and all bytes together, look uniformly random."""
    for position in range(positions):
        found = surprise(sample[position] for sample in samples)
        assert abs(found) < 7, f"byte {position} is not uniform: {found:.1f} standard deviations"
    found = surprise(byte for sample in samples for byte in sample)
    assert abs(found) < 7, f"the bytes are not uniform: {found:.1f} standard deviations"
