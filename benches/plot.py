"""The picture of a comparison: `img/throughput.png`."""

from pathlib import Path
from typing import Any

from benches.report import column_name, title
from benches.summary import ROUND_TRIP, Summary
from benches.systems import BASELINE
from crust.cli.bench_stats import rate_name

COLOURS = {
    "raw": "#9aa5b1",
    "zmq": "#c3b299",
    "curve": "#8c6d46",
    "libp2p": "#b07aa1",
    "crust": "#1f6f8b",
    "crust-queue": "#76b3c4",
}
GAP = 0.8  # of the distance between two groups, that the bars of one group take


def draw(summary: Summary, path: Path, about: str) -> None:
    """Write the picture to ``path``; raises ``ModuleNotFoundError`` without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 4.6), width_ratios=(3, 1.35), layout="constrained", dpi=130
    )
    _rates(left, summary)
    _round_trips(right, summary)
    figure.suptitle("Two processes over loopback: one way and round trip", fontsize=12)
    figure.supxlabel(about, fontsize=7.5, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _rates(axes: Any, summary: Summary) -> None:
    sizes = [column for column in summary.columns if isinstance(column, int)]
    width = GAP / max(len(summary.systems), 1)
    for place, name in enumerate(summary.systems):
        figures = [summary.figure(name, size) for size in sizes]
        where = [index - GAP / 2 + width * (place + 0.5) for index in range(len(sizes))]
        heights = [figure.median if figure else 0.0 for figure in figures]
        axes.bar(where, heights, width * 0.92, color=COLOURS.get(name), label=title(name))
        if name != "crust":
            continue
        for x, height, size in zip(where, heights, sizes, strict=True):
            ratio = summary.ratio(name, BASELINE, size)
            text = rate_name(height) + (f"\n{ratio.median:.1f}x CURVE" if ratio else "")
            axes.annotate(
                text, (x, height), ha="center", va="bottom", fontsize=7, xytext=(0, 2), textcoords="offset points"
            )
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_xticks(range(len(sizes)), [column_name(size) for size in sizes])
    _tidy(axes, "messages per second (log scale)")
    axes.legend(frameon=False, fontsize=8)


def _round_trips(axes: Any, summary: Summary) -> None:
    names = [name for name in summary.systems if summary.figure(name, "p50")]
    for column, alpha in zip(reversed(ROUND_TRIP), (0.35, 1.0), strict=True):
        figures = [summary.figure(name, column) for name in names]
        widths = [figure.median * 1e6 if figure else 0.0 for figure in figures]
        axes.barh(range(len(names)), widths, 0.7, color=[COLOURS.get(name) for name in names], alpha=alpha)
    for place, name in enumerate(names):
        p50, p99 = summary.figure(name, "p50"), summary.figure(name, "p99")
        if p50 and p99:
            text = f" {p50.median * 1e6:.0f} / {p99.median * 1e6:.0f}"
            axes.annotate(text, (p99.median * 1e6, place), va="center", fontsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.35)
    axes.set_yticks(range(len(names)), [title(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    _tidy(axes, "")
    axes.set_xlabel("round trip of 64 B in us: p50 / p99", fontsize=8)


def _tidy(axes: Any, label: str) -> None:
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.grid(axis="both", which="major", alpha=0.2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
