"""The times of one request, from which its record is made."""

from datetime import UTC, datetime

import trio
from attrs import define, field

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.config import BYTES_PER_SAMPLE
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.telemetry.records import RequestRecord


@define
class RequestTimes:
    """Times of events on Trio's clock; None before the event."""

    received_at: float = field(factory=trio.current_time)
    turn_at: float | None = None
    """When the client's earlier requests had ended."""
    slot_at: float | None = None
    first_frame_at: float | None = None
    head_silence: HeadSilence = field(factory=HeadSilence)

    def frame_sent(self) -> None:
        if self.first_frame_at is None:
            self.first_frame_at = trio.current_time()

    def record(
        self, *, request_id: str, voice: str, end: str, audio_s: float, ended_at: float
    ) -> RequestRecord:
        hearable_at = ended_at if self.turn_at is None else max(self.received_at, self.turn_at)
        wall_s = ended_at - hearable_at
        audible_at = None
        if self.first_frame_at is not None and self.head_silence.seconds is not None:
            audible_at = self.first_frame_at + self.head_silence.seconds
        audio_kb = audio_s * SAMPLE_RATE_HZ * BYTES_PER_SAMPLE / 1000
        is_measurable = audio_s > 0 and wall_s > 0
        return RequestRecord(
            ts=datetime.now(UTC),
            request_id=request_id,
            voice=voice,
            end=end,
            canceled=end == "canceled",
            ttfb_ms=_ms(hearable_at, self.first_frame_at),
            ttfa_ms=_ms(hearable_at, audible_at),
            queue_ms=_ms(self.received_at, self.slot_at),
            wall_s=round(wall_s, 4),
            audio_s=round(audio_s, 4),
            # Six digits, because it is less than 0.001 on a GPU.
            rtf=round(wall_s / audio_s, 6) if is_measurable else None,
            xrt=round(audio_s / wall_s, 3) if is_measurable else None,
            kilobytes_per_s=round(audio_kb / wall_s, 1) if is_measurable else None,
            turn_wait_ms=None if self.turn_at is None else _ms(self.received_at, hearable_at),
        )


def _ms(start: float, end: float | None) -> float | None:
    return None if end is None else round(1000 * (end - start), 1)
