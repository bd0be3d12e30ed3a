"""The picture of a ladder. The only user of matplotlib, which is there after `scripts/setup.sh --bench`."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from attrs import define

from kokoro_trio.errors import KokoroTrioError
from kokoro_trio.installation import install_command

from .ladder import Ladder
from .load import Spread

WIDTH_IN, HEIGHT_IN = 10.0, 4.0
DOTS_PER_IN = 120


@define
class MatplotlibMissing(KokoroTrioError):
    mend: str = install_command("bench")

    def __str__(self) -> str:
        return f"matplotlib, which draws the picture, is not installed; run: {self.mend}"


def require_matplotlib() -> None:
    """Raises `MatplotlibMissing`. Asked before minutes are spent on what could not be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MatplotlibMissing


def draw(ladder: Ladder, path: Path) -> None:
    """Writes a PNG: TTFA, and seconds of audio a second, over the concurrency. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    clients = [rung.concurrency for rung in ladder.rungs]
    ttfas_s = [rung.ttfa_s for rung in ladder.rungs]
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    # By name, and no display is asked for, whatever the environment says.
    FigureCanvasAgg(figure)
    ttfa, xrt = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    ttfa.plot(clients, _ms(ttfas_s, "p50"), "o-", label="p50")
    ttfa.plot(clients, _ms(ttfas_s, "p95"), "s--", label="p95")
    ttfa.set_title("Time to the first audible sample")
    ttfa.set_ylabel("TTFA in ms")
    ttfa.legend()
    xrt.plot(clients, [rung.xrt for rung in ladder.rungs], "o-")
    xrt.set_title("Throughput, all connections together")
    xrt.set_ylabel("xRT: seconds of audio a second")
    for axes in (ttfa, xrt):
        axes.set_xlabel("clients")
        axes.set_xticks(clients)
        # Zero is part of what is drawn, so that the margin above is one of all that is seen.
        axes.axhline(0, color="black", linewidth=0.8)
        axes.margins(y=0.2)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=DOTS_PER_IN)


def _ms(spreads_s: Sequence[Spread | None], percentile: str) -> list[float]:
    """NaN, which leaves a hole in the line, where nothing was heard."""
    return [float("nan") if each is None else 1000 * getattr(each, percentile) for each in spreads_s]
