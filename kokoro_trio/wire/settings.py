"""The settings of a session: their defaults, and how a `start` changes them."""

from typing import TypedDict

from attrs import asdict, evolve, frozen

from kokoro_trio.errors import BadMessage, UnsupportedFormat, UnsupportedSampleRate
from kokoro_trio.speech import SAMPLE_RATE_HZ
from kokoro_trio.wire.formats import FORMATS, SAMPLE_RATES_HZ
from kokoro_trio.wire.framing import FRAMINGS, PLAIN, TAGGED
from kokoro_trio.wire.limits import MAX_GOT_CHARS
from kokoro_trio.wire.messages import Start

DEFAULT_VOICE = "female"
DEFAULT_SPEED = 1.0


class StartOptions(TypedDict, total=False):
    """The fields of a `start` as keyword arguments."""

    voice: str | None
    format: str | None
    sample_rate: int | None
    timestamps: bool | None
    framing: str | None
    language: str | None


@frozen
class Settings:
    """The settings of a session's requests until the next `start`."""

    voice: str = DEFAULT_VOICE
    format: str = "pcm"
    sample_rate: int = SAMPLE_RATE_HZ
    timestamps: bool = False
    framing: str = PLAIN
    language: str | None = None
    """None: that of the voice."""

    @property
    def is_tagged(self) -> bool:
        return self.framing == TAGGED

    def changed_by(self, start: Start) -> "Settings":
        """Raises `RequestError` for a format, rate or framing that does not exist."""
        given = {name: value for name, value in asdict(start).items() if value is not None}
        changed = evolve(self, **given)
        changed._check()
        return changed

    def _check(self) -> None:
        if self.format not in FORMATS:
            raise UnsupportedFormat(got=self.format[:MAX_GOT_CHARS], allowed=FORMATS)
        rates_hz = SAMPLE_RATES_HZ[self.format]
        if self.sample_rate not in rates_hz:
            raise UnsupportedSampleRate(got=self.sample_rate, allowed=[str(rate) for rate in rates_hz])
        if self.framing not in FRAMINGS:
            expected, got = " or ".join(FRAMINGS), self.framing[:MAX_GOT_CHARS]
            raise BadMessage(field="framing", expected=expected, got=got)
