"""A program: Pipecat's own service for Together, with its defaults, in a running pipeline.

`python -m tests.support.pipecat_together URL KEY` has it speak, interrupts it, and has it speak again;
what came out of the pipeline is printed as JSON, a list of turns.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable

from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.together.tts import TogetherTTSService
from pipecat.workers.runner import WorkerRunner

from tests.support.bots import GREETING, LATER, NOTHING, REPLY, STORY


class Ear(FrameProcessor):
    """Collects the frames at the end of the pipeline, turn by turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = asyncio.Event()
        self.heard = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self.stopped.clear()
        self.heard.clear()
        self._audio = b""
        self._contexts: set[str | None] = set()
        self._rates_hz: set[int] = set()
        self._texts: list[str] = []
        self._started = 0
        self._interrupted_at = 0.0
        self._last_audio_at = 0.0
        self._ttfb_s: list[float] = []
        self.errors: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSAudioRawFrame():
                self._audio += frame.audio
                self._contexts.add(frame.context_id)
                self._rates_hz.add(frame.sample_rate)
                self._last_audio_at = time.monotonic()
                self.heard.set()
            case TTSStartedFrame():
                self._started += 1
            case TTSTextFrame():
                self._texts.append(frame.text)
            case InterruptionFrame():
                self._interrupted_at = time.monotonic()
            case MetricsFrame():
                self._ttfb_s += [data.value for data in frame.data if isinstance(data, TTFBMetricsData)]
            case TTSStoppedFrame():
                self.stopped.set()
        await self.push_frame(frame, direction)

    def turn(self) -> dict[str, object]:
        told: dict[str, object] = {
            "audio_bytes": len(self._audio),
            "sha256": hashlib.sha256(self._audio).hexdigest(),
            "n_contexts": len(self._contexts),
            "n_started": self._started,
            "rates_hz": sorted(self._rates_hz),
            "texts": self._texts,
            "ttfb_s": [value for value in self._ttfb_s if value],
            "audio_after_interruption_s": max(0.0, self._last_audio_at - self._interrupted_at)
            if self._interrupted_at
            else None,
            "errors": self.errors,
        }
        self._forget()
        return told


async def reply(worker: PipelineWorker, text: str) -> None:
    """Sends a text word by word, like a language model."""
    await worker.queue_frame(LLMFullResponseStartFrame())
    for word in text.split():
        await worker.queue_frame(LLMTextFrame(f"{word} "))
        await asyncio.sleep(0.01)
    await worker.queue_frame(LLMFullResponseEndFrame())


async def greet(worker: PipelineWorker, ear: Ear) -> list[dict[str, object]]:
    return [await say(worker, ear, GREETING)]


async def say(worker: PipelineWorker, ear: Ear, text: str, pause_s: float = 0.0) -> dict[str, object]:
    await worker.queue_frame(TTSSpeakFrame(text))
    await ear.stopped.wait()
    await asyncio.sleep(pause_s)
    return ear.turn()


async def converse(worker: PipelineWorker, ear: Ear) -> list[dict[str, object]]:
    turns = await greet(worker, ear)

    for _ in range(2):
        await reply(worker, REPLY)
        await ear.stopped.wait()
        await asyncio.sleep(0.2)
        turns.append(ear.turn())

    await reply(worker, STORY)
    await ear.heard.wait()
    await worker.queue_frame(InterruptionFrame())
    await asyncio.sleep(1.0)
    turns.append(ear.turn())

    turns.append(await say(worker, ear, LATER))
    turns.append(await say(worker, ear, NOTHING, pause_s=0.2))
    return [*turns, await say(worker, ear, LATER)]


async def in_pipeline(
    tts: TogetherTTSService, act: Callable[[PipelineWorker, Ear], Awaitable[list[dict[str, object]]]]
) -> list[dict[str, object]]:
    ear = Ear()
    worker = PipelineWorker(Pipeline([tts, ear]), params=PipelineParams(enable_metrics=True))

    async def on_error(worker: PipelineWorker, frame: ErrorFrame) -> None:
        ear.errors.append(frame.error)

    worker.add_event_handler("on_pipeline_error", on_error)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(120):
        turns = await act(worker, ear)
    await worker.cancel()
    await running
    return turns


def main(url: str, key: str) -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    print(json.dumps(asyncio.run(in_pipeline(TogetherTTSService(api_key=key, url=url), converse))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
