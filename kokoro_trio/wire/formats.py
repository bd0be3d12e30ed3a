"""The audio formats of the wire and their sample rates; `audio` has their encoders and decoders."""

SAMPLE_RATES_HZ = {
    "pcm": (8000, 16_000, 22_050, 24_000, 44_100, 48_000),
    "mulaw": (8000,),
    # The rates of PCM that libopus takes.
    "opus": (8000, 16_000, 24_000, 48_000),
}
"""By format."""
FORMATS = list(SAMPLE_RATES_HZ)

OPUS_RATE_HZ = 48_000
"""The rate of decoded Opus, and of the sample counts in Ogg pages, at any rate of the encoder."""


def decoded_rate_hz(audio_format: str, sample_rate_hz: int) -> int:
    """The rate at which a client hears audio that was requested at `sample_rate_hz`."""
    return OPUS_RATE_HZ if audio_format == "opus" else sample_rate_hz
