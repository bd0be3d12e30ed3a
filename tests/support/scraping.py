"""Records of requests, and what a scrape of `/metrics` reads."""

import attrs
from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families as read_text

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.model.synthesizer import EarlyAudio
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.telemetry.records import RequestRecord
from kokoro_trio.telemetry.times import RequestTimes


@attrs.frozen
class Load:
    sessions: int = 0
    active: int = 0
    waiting: int = 0
    early_audio: EarlyAudio | None = None
    slacks_s: tuple[float, ...] = ()


def scraped(text: str) -> dict[str, float]:
    """Each sample by its series without `kokoro_`: `requests_total{end=done}`."""
    values: dict[str, float] = {}
    for family in read_text(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            series = sample.name.removeprefix("kokoro_") + (f"{{{labels}}}" if labels else "")
            assert series not in values
            values[series] = sample.value
    return values


TIMES = RequestTimes(100.0, 100.0, 100.05, 100.2, HeadSilence(SAMPLE_RATE_HZ, SAMPLE_RATE_HZ // 4, True))
"""Received, turn, slot, first frame; and a head silence of 0.25 s."""


def record(**changes: object) -> RequestRecord:
    made = TIMES.record(request_id="r1", voice="af_aoede", end="done", audio_s=2.0, ended_at=100.5)
    return evolve(made, **changes)  # type: ignore[arg-type]
