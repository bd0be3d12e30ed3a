"""Fixed limits on what a client sends and on what the server does with it.

The limits that an operator can set are knobs in `config`.
"""

# Connections.

SPARE_SOCKETS = 256
"""Sockets in addition to MAX_CONNECTIONS, for peers without a valid key so far: health checks, web pages."""
MAX_METRICS_SOCKETS = 32
"""On METRICS_PORT. Fewer than `OTHER_FILES` of __main__.py, so that idle sockets do not use up the open files
that speech needs."""

# Messages.

MAX_HEAD_BYTES = 16_384
"""The address and headers of a request. Browsers and proxies send at most 8 KiB."""
MAX_READ_AHEAD_BYTES = 16_384
"""Bytes of the next HTTP requests that are read while one is served; the rest waits in the socket."""
MAX_WHOLE = 2**53
"""The largest exact integer of a double, as JSON numbers are. Python would read 4,300 digits."""
MAX_REQUEST_ID_CHARS = 128
"""A UUID has 36 characters. The protocol promises clients 128."""
MAX_TAG_BYTES = 255
"""A request id in UTF-8: in tagged framing one byte holds its length."""
MIN_SPEED, MAX_SPEED = 0.5, 2.0
"""Outside this range Kokoro's durations no longer sound like speech."""
MAX_GOT_CHARS = 100
"""An error returns the beginning of the refused value, enough to recognise it."""

# The state of a connection.

MAX_UNSENT_MESSAGES = 64
"""While more messages wait for a client that does not read, the session does not read from it."""
REMEMBERED_REQUESTS = 4_096
"""The ids of ended requests, to tell them from unknown ids: half a megabyte at most."""

# An utterance.

MAX_LETTERS_PER_WORD = 50
"""Longer than any English word. A longer run of letters counts as several words."""
LETTERS_PER_UNSPACED_WORD = 2
"""Chinese words have about 1.5 characters; Japanese words, kana included, and Thai words have more."""
MAX_SENTENCE_CHARS = 1_000
"""Longer sentences are cut before grapheme-to-phoneme. At about one phoneme a character this is twice the
capacity of a segment, so they would be cut anyway."""
MAX_PAUSE_S = 10.0
"""One pause. A client that needs a longer one can wait before its next request."""
MAX_PAUSES_S = 30.0
"""All pauses of a text together. A request holds a slot during its pauses."""
MAX_UTTERANCE_PHONEMES = 10_000
"""More than ten minutes of speech. 150 words have 1,200, but a number of 3,000 digits counts as 60 words."""
MAX_PRONOUNCED_CHARS, MAX_PRONUNCIATION_PHONEMES = 60, 200
"""In `[word](/phonemes/)`: a long word or a name of several words, at three phonemes a character."""
MAX_MARKDOWN_CHARS, MAX_MARKDOWN_BRACKETS = 10_000, 500
"""A longer text is not parsed as Markdown: markdown-it scans from each "[" to the end of the text."""
MAX_MARKDOWN_NESTING = 100
"""Nested quotes; markdown-it drops deeper ones."""

# A voice.

MAX_RECIPE_CHARS, MAX_RECIPE_VOICES = 2_000, 16
"""A blend of sixteen voices with weights has about 400 characters."""

# Together's dialect.

MAX_CONTEXTS = 100
"""In one connection. Pipecat uses one at a time."""
MAX_BUFFERED_CHARS = 20_000
"""Text that waits for a commit: about twenty minutes of speech."""
DEFAULT_PARTIAL_CHARS, MAX_PARTIAL_CHARS = 250, 1_000
"""Text that waits for the end of its sentence. Longer sentences are cut anyway."""
MAX_PRONUNCIATIONS, MAX_PRONUNCIATION_CHARS = 200, 100
"""The rules in a `pronunciation_dict` and the characters on each side of a rule: enough for names."""
MAX_PRONUNCIATION_SOURCES_CHARS = 2_000
"""The words of all rules together: each of their characters may be compared at each place of a text."""
MAX_PARAMETER_CHARS = 2_000
"""A string parameter; the longest is a voice recipe."""
