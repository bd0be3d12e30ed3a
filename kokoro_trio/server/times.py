"""When a request was received, spoken and sent: its record in the metrics is made from these times."""

import trio
from attrs import define, field

from kokoro_trio.audio.head_silence import HeadSilence
from kokoro_trio.telemetry.records import RequestRecord


@define
class RequestTimes:
    """On Trio's clock; None as long as it has not happened."""

    received_at: float = field(factory=trio.current_time)
    turn_at: float | None = None
    """When the client's earlier requests had ended."""
    slot_at: float | None = None
    first_frame_at: float | None = None
    head_silence: HeadSilence = field(factory=HeadSilence)

    def frame_sent(self) -> None:
        if self.first_frame_at is None:
            self.first_frame_at = trio.current_time()

    def record(self, *, request_id: str, voice: str, end: str, audio_s: float) -> RequestRecord:
        """The record of a request that has ended now."""
        return RequestRecord.of(
            request_id=request_id,
            voice=voice,
            end=end,
            received_at=self.received_at,
            turn_at=self.turn_at,
            slot_at=self.slot_at,
            first_frame_at=self.first_frame_at,
            ended_at=trio.current_time(),
            head_silence_s=self.head_silence.seconds,
            audio_s=audio_s,
        )
