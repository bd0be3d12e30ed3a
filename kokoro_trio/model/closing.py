"""How a short line without a mark at its end is spoken. Pure.

A bare "Yes" is shorter than "Yes.", and some voices break it off or say it faintly; with its mark a word
alone is about as loud as inside a sentence (`python -m bench.research.short`). Style vectors for 15 to 60
phonemes instead of so few mostly made words longer, by a fifth to a half, and changed their level by 2 dB
at most or little more, either way.
"""

MARKS = ";:,.!?—…"
CLOSERS = '"”)'
MAX_BARE_PHONEMES = 12
"""Bare words of 2 to 7 phonemes lasted 0.75 to 0.91 (medians of ten voices in eight languages; at worst 0.63)
of what they last with a full stop; lines of 12 to 33 phonemes 0.94 to 0.98, at the same level."""


def closed(phonemes: str) -> str:
    """With a full stop where there is no mark, if the line is short; with nothing if it is empty."""
    is_bare = phonemes.rstrip(CLOSERS)[-1:] not in MARKS
    return phonemes + "." if is_bare and len(phonemes) <= MAX_BARE_PHONEMES else phonemes
