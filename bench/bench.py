"""How fast a running server speaks: many requests over several connections, and what their listeners saw.

    python bench/bench.py --n 60 --concurrency 4
    python bench/bench.py --n 60 --concurrency 4 --json result.json

Each connection has one request outstanding at a time and takes the next one when that has ended. The
sentences are the lines of bench/sentences.txt, in turn. Exits with 1 when a request failed.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import trio
from attrs import asdict, define, field, frozen
from tqdm import tqdm

from kokoro_trio.client import (
    Arrival,
    ClientError,
    ConnectionLost,
    RequestFailed,
    Session,
    Timing,
    connect_with,
    connection_options,
)
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.errors import BadKnob
from kokoro_trio.speech import SAMPLE_RATE_HZ

SENTENCES = Path(__file__).parent / "sentences.txt"
NOT_SENT = "not_sent"
"""What a request counts as that no connection was left for."""


# What is measured.


@frozen
class Spoken:
    """A request that ended well. `longest_gap_s`: see `longest_gap_s` below."""

    timing: Timing
    longest_gap_s: float


@frozen
class Failed:
    """A request that did not; `code` is that of the protocol, connection_lost or not_sent."""

    code: str


def longest_gap_s(arrivals: Sequence[Arrival]) -> float:
    """The longest silence in between for who plays the audio as it comes; 0.0 where all came in time.

    Playback starts with the first frame, in real time; where it runs dry it waits for the next frame.
    """
    longest_s = 0.0
    played_until = arrivals[0].at if arrivals else 0.0
    for arrival in arrivals:
        longest_s = max(longest_s, arrival.at - played_until)
        played_until = max(played_until, arrival.at) + arrival.n_samples / SAMPLE_RATE_HZ
    return longest_s


@frozen
class Spread:
    average: float
    p50: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """Of what is not None; None where nothing is."""
        present = [value for value in values if value is not None]
        if not present:
            return None
        p50, p95 = np.percentile(present, [50, 95]).tolist()
        return cls(float(np.mean(present)), p50, p95)


@frozen
class Summary:
    """All requests of a run. `xrt` and `kb_per_s` (1000 bytes) are those of all connections together."""

    n: int
    concurrency: int
    errors: dict[str, int]
    ttfb_s: Spread | None
    ttfa_s: Spread | None
    rtf: Spread | None
    wall_s: float
    audio_s: float
    xrt: float
    kb_per_s: float
    n_underruns: int
    longest_gap_s: float

    @classmethod
    def of(cls, outcomes: Sequence[Spoken | Failed], concurrency: int, wall_s: float) -> "Summary":
        spoken = [outcome for outcome in outcomes if isinstance(outcome, Spoken)]
        audio_s = sum(each.timing.audio_s for each in spoken)
        gaps_s = [each.longest_gap_s for each in spoken]
        return cls(
            n=len(outcomes),
            concurrency=concurrency,
            errors=dict(Counter(outcome.code for outcome in outcomes if isinstance(outcome, Failed))),
            ttfb_s=Spread.of(each.timing.ttfb_s for each in spoken),
            ttfa_s=Spread.of(each.timing.ttfa_s for each in spoken),
            rtf=Spread.of(each.timing.rtf for each in spoken),
            wall_s=wall_s,
            audio_s=audio_s,
            xrt=audio_s / wall_s,
            kb_per_s=audio_s * SAMPLE_RATE_HZ * BYTES_PER_SAMPLE / 1000 / wall_s,
            n_underruns=sum(gap_s > 0 for gap_s in gaps_s),
            longest_gap_s=max(gaps_s, default=0.0),
        )

    @property
    def n_errors(self) -> int:
        return sum(self.errors.values())

    def report(self) -> Iterator[str]:
        kinds = ", ".join(f"{count} {code}" for code, count in self.errors.items())
        yield f"n {self.n}, concurrency {self.concurrency}, errors {self.n_errors}" + (
            kinds and f" ({kinds})"
        )
        yield _ROW.format("", "avg", "p50", "p95")
        yield _row("TTFB ms", self.ttfb_s, 1000, ".0f")
        yield _row("TTFA ms", self.ttfa_s, 1000, ".0f")
        yield _row("RTF", self.rtf, 1, ".3f")
        yield (
            f"wall {self.wall_s:.2f} s, audio {self.audio_s:.2f} s, "
            f"xRT {self.xrt:.2f}, {self.kb_per_s:.1f} KB/s"
        )
        yield f"underruns {self.n_underruns}, longest gap {self.longest_gap_s * 1000:.0f} ms"


_ROW = "{:<8} {:>9} {:>9} {:>9}"


def _row(name: str, spread: Spread | None, scale: float, form: str) -> str:
    values = [spread.average, spread.p50, spread.p95] if spread else []
    shown = [format(value * scale, form) for value in values] or ["-"] * 3
    return _ROW.format(name, *shown)


# How it is measured.


@define
class Run:
    """`sentences` are those still to be spoken; whoever is free takes the next one."""

    sentences: Iterator[str]
    voice: str | None
    on_outcome: Callable[[], object]
    outcomes: list[Spoken | Failed] = field(factory=list)

    async def speak_on(self, session: Session) -> None:
        """Until there is nothing left to say, or the connection is lost: the others then go on."""
        for sentence in self.sentences:
            try:
                outcome: Spoken | Failed = await self._speak(session, sentence)
            except RequestFailed as error:
                outcome = Failed(error.code)
            except ConnectionLost:
                self._note(Failed("connection_lost"))
                return
            self._note(outcome)

    async def _speak(self, session: Session, sentence: str) -> Spoken:
        async with session.speak(sentence, voice=self.voice) as speech:
            await speech.wait_until_over()
        return Spoken(speech.timing, longest_gap_s(speech.arrivals))

    def note_rest(self) -> None:
        for _ in self.sentences:
            self._note(Failed(NOT_SENT))

    def _note(self, outcome: Spoken | Failed) -> None:
        self.outcomes.append(outcome)
        self.on_outcome()


async def run(options: argparse.Namespace, sentences: Sequence[str]) -> Summary:
    """The clock runs from when all connections stand. Raises `ClientError` where one cannot be made."""
    with tqdm(total=options.n, unit="request", disable=None) as progress:
        chosen = (sentences[index % len(sentences)] for index in range(options.n))
        work = Run(chosen, options.voice, progress.update)
        async with AsyncExitStack() as connections:
            sessions = [
                await connections.enter_async_context(connect_with(options))
                for _ in range(options.concurrency)
            ]
            began_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                for session in sessions:
                    nursery.start_soon(work.speak_on, session)
            wall_s = trio.current_time() - began_at
        work.note_rest()
    return Summary.of(work.outcomes, options.concurrency, wall_s)


# The command.


def main() -> None:
    try:
        options = _command_line().parse_args()
        sentences = read_sentences(options.text_file)
        summary = trio.run(run, options, sentences)
        if options.json is not None:
            options.json.write_text(json.dumps(asdict(summary), indent=2) + "\n")
    except (BadKnob, ClientError, OSError, NothingToSay) as error:
        sys.exit(f"error: {error}")
    print("\n".join(summary.report()))
    sys.exit(1 if summary.n_errors else 0)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measures how fast a running server speaks.", parents=[connection_options()]
    )
    parser.add_argument("--proto", choices=["ws"], default="ws", help="default: %(default)s")
    parser.add_argument("--n", type=_count, default=60, help="requests (default: %(default)s)")
    parser.add_argument("--concurrency", type=_count, default=4, help="connections (default: %(default)s)")
    parser.add_argument("--voice", help="female, male, or the name of a voice (default: female)")
    parser.add_argument("--text-file", type=Path, default=SENTENCES, help="one sentence a line")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 upwards")
    return int(text)


@define
class NothingToSay(Exception):
    path: Path

    def __str__(self) -> str:
        return f"{self.path} holds no sentence"


def read_sentences(path: Path) -> list[str]:
    """The lines that are not empty. Raises OSError and `NothingToSay`."""
    sentences = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not sentences:
        raise NothingToSay(path)
    return sentences


if __name__ == "__main__":
    main()
