"""A server in the event loop of the test, on real sockets, with tones instead of a model."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs
import httpx
import trio
from attrs import evolve

from kokoro_trio.config import Config, EngineConfig, ListenConfig, RequestLimits, StreamConfig
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.inference import InferenceThread
from kokoro_trio.engine.phonemizing import Phonemizer
from kokoro_trio.model.synthesizer import Synthesizer, ToneSynthesizer
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.listener import Listener, LoadedModel
from kokoro_trio.speech import Utterance
from kokoro_trio.telemetry.records import RequestRecord
from tests.support.models import Speller
from tests.support.sessions import VOICES
from tests.support.telemetry import RecordingTelemetry

T = TypeVar("T")
CONFIG = Config.of({"HOST": "127.0.0.1", "PORT": "0", "API_KEY": "first, second"})
IMPATIENT = evolve(CONFIG.listen, handshake_timeout_s=1.0)
LIMITS = evolve(CONFIG.requests, max_words=1000)


@attrs.define
class Server:
    listener: Listener
    engine: Engine
    port: int
    records: list[RequestRecord]
    scope: trio.CancelScope

    def url(self, path: str = "/v1/audio/speech/stream/ws", key: str | None = "first") -> str:
        query = f"?api_key={key}" if key else ""
        return f"ws://127.0.0.1:{self.port}{path}{query}"

    async def get(self, path: str, **headers: str) -> httpx.Response:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return await in_thread(httpx.get, f"http://127.0.0.1:{self.port}{path}", headers=raw)


@asynccontextmanager
async def running(
    *,
    listen: ListenConfig = CONFIG.listen,
    stream: StreamConfig = CONFIG.stream,
    load: Callable[[], Synthesizer] = ToneSynthesizer,
    ready: bool = True,
    voices: VoiceCatalogue = VOICES,
    phonemizer: Phonemizer = Speller(),  # noqa: B008
    limits: RequestLimits = LIMITS,
    engine_config: EngineConfig = EngineConfig(4, 8),  # noqa: B008
) -> AsyncIterator[Server]:
    telemetry = RecordingTelemetry()
    engine = Engine(engine_config, InferenceThread(load), phonemizer, telemetry)
    listener = Listener(listen, stream, engine, telemetry)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(listener.serve)
        if ready:
            await nursery.start(engine.run)
            listener.open_for(LoadedModel(voices, limits, device="cpu"))
        yield Server(listener, engine, port, telemetry.records, nursery.cancel_scope)
        nursery.cancel_scope.cancel()


async def in_thread(function: Callable[..., T], *args: object, **options: object) -> T:
    return await trio.to_thread.run_sync(partial(function, *args, **options), abandon_on_cancel=True)


async def listen(server: Server, session: int) -> None:
    async with server.engine.open(Utterance("On and on. " * 50, "af_heart"), session) as stream:
        async for _ in stream:
            pass


async def fill_all_slots(server: Server, nursery: trio.Nursery) -> None:
    """Fills the slots with utterances that last until the nursery is canceled."""
    for number in range(4):
        nursery.start_soon(listen, server, number)
    await until(lambda: server.engine.statistics().active == 4)


async def until(is_so: Callable[[], object], within_s: float = 20) -> None:
    with trio.fail_after(within_s):
        while not is_so():
            await trio.sleep(0.005)


async def until_all_are_gone(server: Server) -> None:
    await until(lambda: server.listener.readiness().connections == 0)
