"""This server and its peers speak the same sentences, round by round in turn, in one run."""

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Protocol

import trio
from attrs import define, field, frozen
from tqdm import tqdm

from kokoro_trio.errors import KokoroTrioError

from ..load import (
    COLUMNS,
    WARM_UP_SENTENCES,
    Failed,
    Ratio,
    Run,
    Spoken,
    Summary,
    connections,
    speak,
)
from ..report import Report
from ..sentences import in_turn
from ..server_state import read_state
from .openai import OpenAiServer
from .process import ProcessPeer, command_of

OURS = "kokoro_trio"


@define
class PeerFailed(KokoroTrioError):
    name: str
    code: str

    def __str__(self) -> str:
        return f"the peer {self.name} failed in the warm-up: {self.code}"


class Peer(Protocol):
    @property
    def name(self) -> str: ...

    async def speak(self, sentence: str) -> Spoken | Failed: ...


@frozen
class SideSummary:
    """`ttfa_ratio`: this server's TTFA to the peer's. None for this server itself."""

    name: str
    summary: Summary
    ttfa_ratio: Ratio | None


@frozen
class Comparison:
    """This server comes first among the sides."""

    voice: str
    device: str
    sides: list[SideSummary]

    @property
    def has_failed(self) -> bool:
        return any(side.summary.has_failed for side in self.sides)

    def report(self) -> Report:
        ours = self.sides[0].summary
        return Report(
            f"{ours.n} sentences by each in turn, {ours.concurrency} at a time, {self.voice}, {self.device}",
            [
                ["in turn", *COLUMNS, "TTFA ours/peer, p50/p95"],
                *([side.name, *side.summary.cells(), str(side.ttfa_ratio or "-")] for side in self.sides),
            ],
        )


@define
class Side:
    """A server or library and its outcomes so far. `lines`: the connections that speak at the same time."""

    name: str
    lines: Sequence[Any]
    speak: Callable[[Any, str], Awaitable[Spoken | Failed]]
    outcomes: list[Spoken | Failed] = field(factory=list)
    wall_s: float = 0.0

    async def speak_round(self, sentences: Iterable[str], on_outcome: Callable[[], object]) -> None:
        work = Run(iter(sentences), self.speak, on_outcome)
        began_at = trio.current_time()
        await work.over(self.lines)
        self.wall_s += trio.current_time() - began_at
        self.outcomes += work.outcomes

    async def warm_up(self, sentences: Sequence[str]) -> None:
        """Raises `PeerFailed` and `ClientError`."""
        for sentence in sentences[:WARM_UP_SENTENCES]:
            outcome = await self.speak(self.lines[0], sentence)
            if isinstance(outcome, Failed):
                raise PeerFailed(self.name, outcome.code)

    @property
    def summary(self) -> Summary:
        return Summary.of(self.outcomes, len(self.lines), self.wall_s)


async def measure(options: argparse.Namespace, sentences: Sequence[str]) -> Comparison:
    """Raises `StateUnknown`, `ClientError`, `PeerFailed`, and the errors of starting a peer."""
    device = (await read_state(options)).device
    async with connections(options, options.concurrency) as sessions:
        voice = (await sessions[0].start(voice=options.voice or "female")).voice
        async with started_peers(options, voice, device) as peers:
            sides = [Side(OURS, sessions, partial(speak, voice=voice))]
            sides += [Side(peer.name, [peer] * len(sessions), _ask) for peer in peers]
            for side in sides:
                await side.warm_up(sentences)
            await speak_in_turn(sides, sentences, options.n)
    return compared(sides, voice, device)


@asynccontextmanager
async def started_peers(options: argparse.Namespace, voice: str, device: str) -> AsyncIterator[list[Peer]]:
    """The peers of the command line. Raises the errors of `command_of`, and `ProcessEnded`."""
    peers: list[Peer] = []
    async with AsyncExitStack() as stack:
        if options.openai is not None:
            name = options.openai_voice or voice
            peers.append(OpenAiServer(options.openai, options.openai_key, options.openai_model, name))
        for name in options.peer:
            command = command_of(name, options, voice, device)
            peers.append(await stack.enter_async_context(ProcessPeer.started(name, command)))
        yield peers


async def speak_in_turn(sides: Sequence[Side], sentences: Sequence[str], n: int) -> None:
    """Rounds of as many sentences as are spoken at a time."""
    remaining = in_turn(sentences, n)
    with tqdm(total=n * len(sides), unit="sentence", disable=None) as progress:
        while round_ := list(islice(remaining, len(sides[0].lines))):
            for side in sides:
                await side.speak_round(round_, progress.update)


def compared(sides: Sequence[Side], voice: str, device: str) -> Comparison:
    ours, *peers = [(side.name, side.summary) for side in sides]
    summaries = [SideSummary(*ours, None)]
    for name, summary in peers:
        summaries.append(SideSummary(name, summary, Ratio.of(ours[1].ttfa_s, summary.ttfa_s)))
    return Comparison(voice, device, summaries)


async def _ask(peer: Peer, sentence: str) -> Spoken | Failed:
    return await peer.speak(sentence)
