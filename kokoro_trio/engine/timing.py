"""When each word is heard. Known as soon as the durations are, before there is any sound. Pure."""

from collections.abc import Sequence
from itertools import accumulate

from kokoro_trio.speech import FRAME_SECONDS, Segment, WordTime


def word_times(
    segment: Segment, durations_frames: Sequence[int], first_frame: int, start_s: float
) -> list[WordTime]:
    """Frame `first_frame` of the segment is heard `start_s` seconds into its utterance.

    `durations_frames` has one entry for each phoneme and one for the padding at each end.
    """
    starts = [0, *accumulate(durations_frames)]

    def heard_at(phoneme: int) -> float:
        # Behind the padding.
        return start_s + max(0, starts[phoneme + 1] - first_frame) * FRAME_SECONDS

    return [
        WordTime(
            segment.index,
            word.start_char,
            word.end_char,
            heard_at(word.start_phoneme),
            heard_at(word.end_phoneme),
        )
        for word in segment.words
    ]
