"""How a binary frame names the request that its audio belongs to.

In plain framing the requests of a connection are spoken one after the other, and a frame is audio alone. In
tagged framing they are spoken side by side, and each frame starts with a tag: one byte n, then the request id
as n bytes of UTF-8.
"""

from kokoro_trio.errors import BadMessage
from kokoro_trio.wire.limits import MAX_TAG_BYTES

PLAIN, TAGGED = "plain", "tagged"
FRAMINGS = [PLAIN, TAGGED]


def tag_of(request_id: str) -> bytes:
    """The tag in front of a request's audio. Raises `BadMessage`."""
    name = request_id.encode()
    if len(name) > MAX_TAG_BYTES:
        expected = f"at most {MAX_TAG_BYTES} bytes of UTF-8 in tagged framing"
        raise BadMessage(field="request_id", expected=expected, got=f"{len(name)} bytes")
    return bytes([len(name)]) + name


def untag(frame: bytes) -> tuple[str, bytes]:
    """The request id of a tagged frame and its audio; the primer has an empty id. Raises `BadMessage`."""
    audio_at = 1 + frame[0] if frame else 1
    if audio_at > len(frame):
        raise BadMessage(field="audio", expected="a tag and audio", got=f"{len(frame)} bytes")
    try:
        return frame[1:audio_at].decode(), frame[audio_at:]
    except UnicodeDecodeError as error:
        raise BadMessage(field="audio", expected="a tag in UTF-8", got=str(error)) from error
