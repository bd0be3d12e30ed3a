"""When each word is heard: computed from the durations, before any audio is made. Pure.

The sound is ahead of the durations, and the duration of a phoneme includes the pause after it. The leads were
measured on 14 sentences of seven voices against a forced alignment (pocketsphinx) of 763 words inside
clauses. A word is heard 85 ms (median) before its first phoneme begins, and ends 40 ms before its last one
does. The first word of a sentence is heard 60 ms earlier by the alignment, 25 ms by its energy. The last
sound before a comma ends 55 ms after it has begun (63 words); before a full stop, by energy, 30 ms (98
words), where its duration is 75 to 475 ms.
"""

from collections.abc import Sequence
from itertools import accumulate

from kokoro_trio.speech import FRAME_SECONDS, Segment, WordTime
from kokoro_trio.text.segmentation import PAUSES

START_LEAD_S = 0.025
START_LEAD_SLOWED_S = 0.06
"""The part of the lead that grows with slower speech: its median was 120 ms at speed 0.6, 80 ms at 1.7."""
FIRST_START_LEAD_S = 0.05
END_LEAD_S = 0.05
LAST_SOUND_S = 0.05
MIN_WORD_S = FRAME_SECONDS


def word_times(
    segment: Segment, durations_frames: Sequence[int], first_frame: int, start_s: float, speed: float = 1.0
) -> list[WordTime]:
    """Frame `first_frame` of the segment is heard `start_s` seconds into its utterance.

    `durations_frames` has one entry for each phoneme and one for the padding at each end.
    """
    # The first entry of the durations is padding, so `begins[n]` is when phoneme n begins.
    frames = list(accumulate(durations_frames))
    begins = [start_s + (frame - first_frame) * FRAME_SECONDS for frame in frames]
    inner_lead_s = START_LEAD_S + START_LEAD_SLOWED_S / min(speed, 1.0)
    times: list[WordTime] = []
    heard_s = start_s
    for word in segment.words:
        lead_s = inner_lead_s if times else FIRST_START_LEAD_S
        heard_s = max(heard_s, begins[word.start_phoneme] - lead_s)
        if _is_pause(segment.phonemes[word.end_phoneme : word.end_phoneme + 1]):
            end_s = begins[word.end_phoneme - 1] + LAST_SOUND_S
        else:
            end_s = begins[word.end_phoneme] - END_LEAD_S
        end_s = max(end_s, heard_s + MIN_WORD_S)
        times.append(WordTime(segment.index, word.start_char, word.end_char, heard_s, end_s))
        heard_s = end_s
    return times


def _is_pause(following: str) -> bool:
    """Whether a punctuation mark, or nothing, follows a word."""
    return following != " " and (following == "" or following in PAUSES)
