"""Plots of results. Only this module uses matplotlib, of the extra `bench`."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from kokoro_trio.errors import KokoroTrioError
from kokoro_trio.installation import install_command

from .ladder import Ladder
from .load import Spread, Summary
from .peers.comparison import Comparison
from .target import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTTED = ("ladder", "target", "peers")
WIDTH_IN, HEIGHT_IN = 10.0, 4.0
DOTS_PER_IN = 120
BAR_WIDTH = 0.4


@define
class MatplotlibMissing(KokoroTrioError):
    def __str__(self) -> str:
        return f"matplotlib, which draws the plot, is not installed; run: {install_command('bench')}"


def require_matplotlib() -> None:
    """Raises `MatplotlibMissing`. Called before a run, so that the run is not made in vain."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MatplotlibMissing


def draw(result: object, path: Path) -> None:
    """Writes a PNG of TTFA and throughput if the result compares several runs. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    # Chosen here, so that no display is needed.
    FigureCanvasAgg(figure)
    ttfa, xrt = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    match result:
        case Ladder(rungs=rungs) | Target(rungs=rungs):
            _draw_rungs(rungs, ttfa, xrt)
        case Comparison():
            _draw_sides(result, ttfa, xrt)
        case _:
            return
    ttfa.set_title("Time to the first audible sample")
    ttfa.set_ylabel("TTFA in ms")
    ttfa.legend(loc="upper left")
    xrt.set_title("Throughput, all connections together")
    xrt.set_ylabel("xRT: seconds of audio per second")
    for axes in (ttfa, xrt):
        # Draws the zero line, so that the margin is relative to the whole height.
        axes.axhline(0, color="black", linewidth=0.8)
        axes.margins(y=0.2)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=DOTS_PER_IN)


def _draw_rungs(rungs: Sequence[Summary], ttfa: "Axes", xrt: "Axes") -> None:
    clients = [rung.concurrency for rung in rungs]
    ttfas_s = [rung.ttfa_s for rung in rungs]
    ttfa.plot(clients, _ms(ttfas_s, "p50"), "o-", label="p50")
    ttfa.plot(clients, _ms(ttfas_s, "p95"), "s--", label="p95")
    xrt.plot(clients, [rung.xrt for rung in rungs], "o-")
    for axes in (ttfa, xrt):
        axes.set_xlabel("clients")
        axes.set_xticks(clients)


def _draw_sides(comparison: Comparison, ttfa: "Axes", xrt: "Axes") -> None:
    sides = comparison.sides
    places = list(range(len(sides)))
    ttfas_s = [side.summary.ttfa_s for side in sides]
    for percentile, shift in (("p50", -BAR_WIDTH / 2), ("p95", BAR_WIDTH / 2)):
        ttfa.bar([place + shift for place in places], _ms(ttfas_s, percentile), BAR_WIDTH, label=percentile)
    xrt.bar(places, [side.summary.xrt for side in sides], BAR_WIDTH)
    for axes in (ttfa, xrt):
        axes.set_xticks(places, [side.name for side in sides])


def _ms(spreads_s: Sequence[Spread | None], percentile: str) -> list[float]:
    """NaN, which leaves a hole in the line, where no request succeeded."""
    return [float("nan") if each is None else 1000 * getattr(each, percentile) for each in spreads_s]
