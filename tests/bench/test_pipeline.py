"""The server beside KPipeline: a stand-in for it that makes tones, and with weights KPipeline itself."""

import argparse

import pytest
import torch
import trio
from attrs import define, field, frozen

from bench import pipeline
from bench.load import Failed, Spoken
from bench.pipeline import NotEnglish, Pair, WholeSpeaker, compared, kpipeline_of, measure
from bench.server_state import ServerState
from kokoro_trio.client import Timing
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.weights.prepared import open_weights
from tests.support.benches import options
from tests.support.environment import TEST_WEIGHTS
from tests.support.peers import Peer, serving
from tests.support.servers import running

SILENCE = torch.zeros(SAMPLE_RATE_HZ // 4)
TONE = torch.full((SAMPLE_RATE_HZ // 2,), 0.5)


@frozen
class Result:
    audio: torch.Tensor


@define
class StandIn:
    """Speaks a quarter of a second of silence and half a second of sound, in two pieces."""

    asked: list[tuple[str, str]] = field(factory=list)

    def __call__(self, sentence: str, voice: str) -> list[Result]:
        self.asked.append((sentence, voice))
        return [Result(SILENCE), Result(TONE)]


class TestWholeSpeaker:
    def test_is_heard_when_all_is_there_and_its_silence_is_over(self) -> None:
        timing = WholeSpeaker(StandIn(), "af_heart").speak("Hello.")
        assert timing.audio_s == 0.75
        assert timing.ttfb_s == timing.wall_s
        assert timing.ttfa_s == pytest.approx(timing.wall_s + 0.25)


def pair_of(alone_s: float, server_s: float) -> Pair:
    return Pair(
        Spoken(Timing(ttfb_s=alone_s, ttfa_s=alone_s, wall_s=alone_s, audio_s=4.0), 0.0),
        Spoken(Timing(ttfb_s=server_s, ttfa_s=server_s, wall_s=1.0, audio_s=3.0), 0.0),
    )


class TestComparison:
    def test_report(self) -> None:
        comparison = compared([pair_of(2.0, 0.5), pair_of(2.0, 0.5)], "af_heart", "cpu")
        assert not comparison.has_failed
        assert list(comparison.report()) == [
            "af_heart on cpu, each sentence once by KPipeline, whole, and once by the server",
            "               n TTFA p50/p95 ms     xRT errors",
            "KPipeline      2       2000/2000    2.00      0",
            "server         2         500/500    3.00      0",
            "TTFA ratio to KPipeline 0.25 (p50), 0.25 (p95)",
        ]

    def test_where_the_server_failed(self) -> None:
        comparison = compared([Failed("overloaded")], "af_heart", "cpu")
        assert comparison.has_failed
        assert list(comparison.report())[2:] == [
            "KPipeline      0               -    0.00      0",
            "server         1               -    0.00      1",
        ]


class TestMeasure:
    async def test_in_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in = StandIn()
        monkeypatch.setattr(
            pipeline.WholeSpeaker, "load", lambda voice, device: WholeSpeaker(stand_in, voice)
        )
        async with running() as server:
            asked = options(server.port, "--api-key", "first", "--pipeline", "--n", "3", "--voice", "male")
            result = await measure(asked, ["One.", "Two."])
            records = server.records
        assert (result.voice, result.device) == ("am_michael", "cpu")
        assert (result.pipeline.n, result.server.n) == (3, 3)
        # The warm-up first; and each time the server, which speaks after it, knows the voice by its name.
        assert stand_in.asked == [(text, "am_michael") for text in ("One.", "Two.", "One.", "Two.", "One.")]
        assert [record.voice for record in records] == ["am_michael"] * 5
        assert result.ttfa_ratio is not None

    async def test_another_language(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def state_of(options: argparse.Namespace) -> ServerState:
            return ServerState("cpu", active=0, waiting=0, max_concurrent_jobs=4)

        async def script(peer: Peer) -> None:
            await peer.hear("start")
            await peer.say("started", voice="ff_siwis", format="pcm", sample_rate=24_000, timestamps=False)
            await trio.sleep_forever()

        monkeypatch.setattr(pipeline, "read_state", state_of)
        async with serving(script) as port:
            with pytest.raises(NotEnglish, match="English voices only, and ff_siwis is none"):
                await measure(options(port, "--pipeline"), ["Un."])


@pytest.mark.model
class TestKPipeline:
    def test_speaks_and_asks_nobody_for_anything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object, **options: object) -> None:
            raise AssertionError("something is downloaded")

        for module in ("kokoro.model", "kokoro.pipeline"):
            monkeypatch.setattr(f"{module}.hf_hub_download", refuse)
        monkeypatch.setattr("spacy.cli.download", refuse)
        weights = open_weights(TEST_WEIGHTS)
        speaker = WholeSpeaker(kpipeline_of(weights, "bm_george", torch.device("cpu")), "bm_george")
        timing = speaker.speak("The tea is ready, if you are.")
        assert 1 < timing.audio_s < 4
        assert timing.ttfb_s is not None
        assert timing.ttfa_s is not None
        assert 0.1 < timing.ttfa_s - timing.ttfb_s < 0.6
