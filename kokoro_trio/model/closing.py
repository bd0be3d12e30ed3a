"""How a short line without a mark at its end is spoken. Pure.

"Yes" is a line without a clue how it goes on, and some voices cut it off or say it faintly;
`python -m bench.short` measures what becomes of it.
"""

MARKS = ";:,.!?—…"
CLOSERS = '"”)'
MAX_BARE_PHONEMES = 12
"""Of a longer line only the last word could be cut off, and the model sees from the others how it ends."""


def closed(phonemes: str) -> str:
    """With a full stop where there is no mark, if the line is short; with nothing if it is empty."""
    is_bare = phonemes.rstrip(CLOSERS)[-1:] not in MARKS
    return phonemes + "." if is_bare and len(phonemes) <= MAX_BARE_PHONEMES else phonemes
