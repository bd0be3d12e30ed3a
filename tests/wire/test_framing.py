"""Pure: the tags of binary frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kokoro_trio.errors import BadMessage
from kokoro_trio.wire.framing import tag_of, untag
from kokoro_trio.wire.limits import MAX_REQUEST_ID_CHARS


@given(st.text(min_size=1, max_size=MAX_REQUEST_ID_CHARS), st.binary())
def test_untag_returns_the_request_id_and_audio(request_id: str, audio: bytes) -> None:
    if len(request_id.encode()) > 255:
        with pytest.raises(BadMessage, match="255 bytes"):
            tag_of(request_id)
    else:
        assert untag(tag_of(request_id) + audio) == (request_id, audio)


def test_primer_is_tagged_with_an_empty_id() -> None:
    assert untag(bytes(512)) == ("", bytes(511))


@pytest.mark.parametrize("frame", [b"", b"\x05four", b"\x02\xff\xff.."])
def test_malformed_tag_is_a_bad_message(frame: bytes) -> None:
    with pytest.raises(BadMessage):
        untag(frame)
