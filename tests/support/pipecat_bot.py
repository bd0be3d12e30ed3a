"""A Pipecat pipeline around our service that does what a script says, for `test_pipecat`.

    python -m tests.support.pipecat_bot URL SCRIPT

SCRIPT is a JSON list of steps, each a list of a name and its arguments (`Bot`'s methods). What happened
is printed at the end, as a JSON object. The player plays in real time, as a transport does.
"""

import asyncio
import json
import sys
import time
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    StartFrame,
    TextFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext, standard_message_text
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from kokoro_trio.clients.pipecat import KokoroTrioTTSService


class Player(BaseOutputTransport):
    """Plays audio in real time and keeps it."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self.played = bytearray()
        self._free_at = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played += frame.audio
        self._free_at = max(self._free_at, time.monotonic()) + len(frame.audio) / 2 / frame.sample_rate
        await asyncio.sleep(self._free_at - time.monotonic())
        return True


class Ear(FrameProcessor):
    """Records the frames that leave the player."""

    def __init__(self, note: Any) -> None:  # noqa: ANN401
        super().__init__()
        self._note = note

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSStartedFrame():
                self._note("started")
            case TTSStoppedFrame():
                self._note("stopped")
            case TTSTextFrame():
                self._note("word", frame.text)
            case MetricsFrame():
                for data in frame.data:
                    if isinstance(data, TTFBMetricsData | TTSUsageMetricsData):
                        self._note(type(data).__name__, data.value)
        await self.push_frame(frame, direction)


class Bot:
    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401
        self.events: list[list[Any]] = []
        self._changed = asyncio.Event()
        rate_hz = options.pop("pipeline_rate_hz", 24000)
        settings = KokoroTrioTTSService.Settings(**options.pop("settings", {}))
        self._tts = KokoroTrioTTSService(url=url, settings=settings, **options)
        for name in ("on_connected", "on_disconnected"):
            self._tts.add_event_handler(name, self._handler(name))
        self._player = Player()
        self._context = LLMContext()
        assistant = LLMContextAggregatorPair(self._context).assistant()
        self._worker = PipelineWorker(
            Pipeline([self._tts, self._player, Ear(self._note), assistant]),
            params=PipelineParams(
                enable_metrics=True, enable_usage_metrics=True, audio_out_sample_rate=rate_hz
            ),
            idle_timeout_secs=None,
        )

        self._has_started = asyncio.Event()
        self._worker.add_event_handler("on_pipeline_started", self._on_started)
        self._worker.add_event_handler("on_pipeline_error", self._on_error)

    async def _on_started(self, worker: PipelineWorker, frame: StartFrame) -> None:
        self._has_started.set()

    async def _on_error(self, worker: PipelineWorker, error: ErrorFrame) -> None:
        self._note("error", error.error, error.category.value if error.category else "")

    def _handler(self, name: str) -> Any:  # noqa: ANN401
        async def note(service: KokoroTrioTTSService, *details: object) -> None:
            self._note(name)

        return note

    def _note(self, kind: str, *details: object) -> None:
        self.events.append([round(time.monotonic(), 3), kind, *details])
        self._changed.set()

    async def run(self, script: list[list[Any]]) -> dict[str, Any]:
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self._worker)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runner.run())
            await self._has_started.wait()
            for name, *arguments in script:
                await getattr(self, name)(*arguments)
            await self._worker.queue_frame(EndFrame())
        return {
            "events": self.events,
            "played_s": len(self._player.played) / 2 / self._player.sample_rate,
            "rate_hz": self._tts.sample_rate,
            "context": [standard_message_text(message) for message in self._context.get_messages()],
        }

    # The steps.

    async def turn(self, *pieces: str) -> None:
        """The answer of a language model, piece by piece."""
        await self.begin(*pieces)
        await self.end()

    async def begin(self, *pieces: str) -> None:
        await self._worker.queue_frames([LLMFullResponseStartFrame(), *map(LLMTextFrame, pieces)])

    async def end(self, *pieces: str) -> None:
        await self._worker.queue_frames([*map(LLMTextFrame, pieces), LLMFullResponseEndFrame()])

    async def speak(self, text: str, interruptible: bool = True) -> None:
        frame = TTSSpeakFrame(text)
        frame.interruptible = interruptible
        await self._worker.queue_frame(frame)

    async def text(self, text: str) -> None:
        await self._worker.queue_frame(TextFrame(text))

    async def change(self, settings: dict[str, Any]) -> None:
        await self._worker.queue_frame(TTSUpdateSettingsFrame(delta=self._tts.Settings(**settings)))

    async def interrupt(self) -> None:
        self._note("interrupted")
        await self._worker.queue_frame(InterruptionFrame())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until_played(self, seconds: float) -> None:
        until = len(self._player.played) + seconds * 2 * self._player.sample_rate
        while len(self._player.played) < until:
            await asyncio.sleep(0.01)

    async def until(self, kind: str, n: int = 1) -> None:
        """Waits until the event has happened this often since the start."""
        while sum(event[1] == kind for event in self.events) < n:
            self._changed.clear()
            await self._changed.wait()

    async def ask(self, what: str) -> None:
        """Waits until the test has done something and confirms it."""
        print(what, flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    url, options, script = sys.argv[1:]
    bot = Bot(url, **json.loads(options))
    print(json.dumps(await bot.run(json.loads(script))))


if __name__ == "__main__":
    asyncio.run(main())
