"""Clients that interrupt: how soon the audio stops, how soon the next request is heard, and whether every
request ended exactly once, as the protocol says."""

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import trio
from attrs import astuple, define, field, frozen
from tqdm import tqdm

from kokoro_trio.client import Session, Speech, connect_with
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.messages import Canceled, Done, Error

from .load import (
    CONNECTION_LOST,
    Failed,
    Run,
    Spread,
    cells_of,
    connections,
    listed,
    speak,
    warm_up,
)
from .report import Report
from .server_state import ServerState, read_state, wait_until_idle

MAX_DELAY_S = 1.5
REPLY = "Of course, go ahead."
"""The text of the request after each barge-in; first it is measured alone on the idle server."""
IDLE_REPEATS = 10
END_TIMEOUT_S = 30.0
"""The deadline of the first audio, of the answer to the cancel, and of the reply, each."""


@frozen
class Moment:
    """When to interrupt: `delay_s` after `speak` was sent, or after the first audio."""

    is_after_audio: bool
    delay_s: float


@frozen
class BargeIn:
    """A long request that was cancelled, and the short one after it. Times are since `cancel` was sent."""

    delay_s: float
    """From `speak` to `cancel`."""
    was_heard: bool
    """Whether audio had arrived before the cancel."""
    end: str
    """`canceled`, or `done` if the request ended before the cancel arrived."""
    ack_s: float
    late_frames: int
    late_s: float
    """The duration of the audio that arrived after `cancel` was sent."""
    next_audio_s: float | None

    @classmethod
    def of(cls, interrupted: Speech, canceled_at: float, reply: Speech) -> "BargeIn":
        """From two speeches that succeeded; `canceled_at` on the clock of their arrivals."""
        late = [arrival for arrival in interrupted.arrivals if arrival.at > canceled_at]
        assert interrupted.end is not None
        assert interrupted.ended_at is not None
        return cls(
            delay_s=canceled_at - interrupted.requested_at,
            was_heard=len(late) < len(interrupted.arrivals),
            end=interrupted.end,
            ack_s=interrupted.ended_at - canceled_at,
            late_frames=len(late),
            late_s=sum(arrival.n_samples for arrival in late) / SAMPLE_RATE_HZ,
            next_audio_s=reply.arrivals[0].at - canceled_at if reply.arrivals else None,
        )


class Request(Protocol):
    """The part of an ended speech that `Ends` counts."""

    @property
    def request_id(self) -> str: ...
    @property
    def end(self) -> str | None: ...


@frozen
class Ends:
    """How many ends the requests had, and the messages that break the protocol."""

    n_once: int = 0
    n_never: int = 0
    n_again: int = 0
    n_strays: int = 0
    """Messages about requests that had ended."""
    n_stray_frames: int = 0
    """Audio outside of any request, except for one primer per connection."""

    @classmethod
    def of(cls, speeches: Sequence[Request], sessions: Sequence[Session]) -> "Ends":
        strays = [stray for session in sessions for stray in session.strays]
        ended_again = Counter(
            stray.request_id for stray in strays if isinstance(stray, Done | Canceled | Error)
        )
        counts = [_has_ended(speech) + ended_again[speech.request_id] for speech in speeches]
        return cls(
            n_once=counts.count(1),
            n_never=counts.count(0),
            n_again=sum(count > 1 for count in counts),
            n_strays=len(strays),
            n_stray_frames=sum(max(0, session.n_stray_frames - 1) for session in sessions),
        )

    def __add__(self, other: "Ends") -> "Ends":
        return Ends(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def are_right(self) -> bool:
        return self.n_never == self.n_again == self.n_strays == self.n_stray_frames == 0

    def __str__(self) -> str:
        return (
            f"ended once {self.n_once}, never {self.n_never}, more than once {self.n_again}; "
            f"messages after an end {self.n_strays}, frames outside of a request {self.n_stray_frames}"
        )


def _has_ended(speech: Request) -> bool:
    return speech.end not in (None, CONNECTION_LOST)


@frozen
class BargeIns:
    """A run. The spreads are of the canceled requests; see `BargeIn`.

    `n_crossed` counts requests that were done before the cancel arrived."""

    n: int
    concurrency: int
    seed: int
    n_canceled: int
    n_heard: int
    """The canceled requests whose first audio had arrived."""
    n_crossed: int
    errors: dict[str, int]
    ack_s: Spread | None
    late_frames: Spread | None
    late_s: Spread | None
    next_audio_s: Spread | None
    idle_ttfb_s: Spread | None
    """Of the same short sentence, on an idle server."""
    ends: Ends
    state: ServerState
    """When all requests had ended."""

    @property
    def has_failed(self) -> bool:
        return bool(self.errors) or not self.ends.are_right or not self.state.is_idle

    def report(self) -> Report:
        columns = ("p50", "p95", "maximum")
        after_cancel = [
            ["canceled, ms", *cells_of(self.ack_s, columns, 1000, ".1f")],
            ["audio received, frames", *cells_of(self.late_frames, columns, 1, ".0f")],
            ["audio received, ms of audio", *cells_of(self.late_s, columns, 1000, ".0f")],
            ["first audio of the next request, ms", *cells_of(self.next_audio_s, columns, 1000, ".0f")],
        ]
        return Report(
            f"Barge-ins {self.n}, connections {self.concurrency}, seed {self.seed}: "
            f"{self.n_canceled} canceled ({self.n_heard} after the first audio), "
            f"{self.n_crossed} done before the cancel arrived, errors {listed(self.errors) or '0'}",
            [
                ["after the cancel was sent", *columns],
                *after_cancel,
                ["the next request on an idle server, ms", *cells_of(self.idle_ttfb_s, columns, 1000, ".0f")],
            ],
            [
                f"requests: {self.ends}",
                f"server at the end: active {self.state.active}, waiting {self.state.waiting}",
            ],
        )


@define
class Interrupter:
    """Interrupts the long text and then has the reply spoken to its end."""

    long_text: str
    voice: str | None
    speeches: list[Speech] = field(factory=list)
    """All requests."""

    async def interrupt(self, session: Session, moment: Moment) -> BargeIn:
        """Raises `RequestFailed`, `ConnectionLost`, and `TooSlowError` when a deadline passes."""
        async with session.speak(self.long_text, voice=self.voice) as interrupted:
            self.speeches.append(interrupted)
            if moment.is_after_audio:
                with trio.fail_after(END_TIMEOUT_S):
                    await anext(interrupted, None)
            await trio.sleep(moment.delay_s)
            canceled_at = trio.current_time()
            await interrupted.cancel()
            with trio.fail_after(END_TIMEOUT_S):
                await interrupted.wait_until_over()
        async with session.speak(REPLY, voice=self.voice) as reply:
            self.speeches.append(reply)
            with trio.fail_after(END_TIMEOUT_S):
                await reply.wait_until_over()
        return BargeIn.of(interrupted, canceled_at, reply)


async def measure(options: argparse.Namespace, long_text: str) -> BargeIns:
    """Raises `StateUnknown`, and `ClientError` if a connection cannot be made or the idle server fails."""
    await read_state(options)  # Fails at once instead of after minutes.
    await warm_up(options, [REPLY, REPLY])
    idle_ttfbs_s = await _ttfbs_alone(options)
    interrupter = Interrupter(long_text, options.voice)
    with tqdm(total=options.n, unit="barge-in", disable=None) as progress:
        work = Run(random_moments(options.seed, options.n), interrupter.interrupt, progress.update)
        async with connections(options, options.concurrency) as sessions:
            await work.over(sessions)
            # The connections are still open, so that late messages are counted.
            state = await wait_until_idle(options)
    ends = Ends.of(interrupter.speeches, sessions)
    return summed_up(work.outcomes, options, idle_ttfbs_s, ends, state)


def random_moments(seed: int, n: int) -> Iterator[Moment]:
    """The same ones for the same seed. Every other one comes after the first audio."""
    generator = random.Random(seed)
    return (Moment(index % 2 == 1, generator.uniform(0, MAX_DELAY_S)) for index in range(n))


async def _ttfbs_alone(options: argparse.Namespace) -> list[float | None]:
    async with connect_with(options) as session:
        spoken = [await speak(session, REPLY, options.voice) for _ in range(IDLE_REPEATS)]
    return [each.timing.ttfb_s for each in spoken]


def summed_up(
    outcomes: Sequence[BargeIn | Failed],
    options: argparse.Namespace,
    idle_ttfbs_s: Sequence[float | None],
    ends: Ends,
    state: ServerState,
) -> BargeIns:
    went_well = [outcome for outcome in outcomes if isinstance(outcome, BargeIn)]
    canceled = [each for each in went_well if each.end == "canceled"]
    return BargeIns(
        n=len(outcomes),
        concurrency=options.concurrency,
        seed=options.seed,
        n_canceled=len(canceled),
        n_heard=sum(each.was_heard for each in canceled),
        n_crossed=len(went_well) - len(canceled),
        errors=dict(Counter(outcome.code for outcome in outcomes if isinstance(outcome, Failed))),
        ack_s=Spread.of(each.ack_s for each in canceled),
        late_frames=Spread.of(each.late_frames for each in canceled),
        late_s=Spread.of(each.late_s for each in canceled),
        next_audio_s=Spread.of(each.next_audio_s for each in canceled),
        idle_ttfb_s=Spread.of(idle_ttfbs_s),
        ends=ends,
        state=state,
    )
