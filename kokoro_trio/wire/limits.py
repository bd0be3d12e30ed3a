"""Limits on what a client sends, and on what the server makes of it.

What an operator sets is a knob of `config`: the words of an utterance, what one connection may have
outstanding, the bytes of a message. Everything else is here.
"""

# Connections.

SPARE_SOCKETS = 256
"""Beyond MAX_CONNECTIONS, for sockets that have shown no right key: health checks, web pages, newcomers."""
MAX_METRICS_SOCKETS = 32
"""On METRICS_PORT. Fewer than `OTHER_FILES` of __main__.py, so that idle sockets leave speech the files it
needs."""

# Messages.

MAX_HEAD_BYTES = 16_384
"""Of a request, its address and headers: browsers and proxies send 8 KiB at most."""
MAX_READ_AHEAD_BYTES = 16_384
"""How much of the next HTTP requests is read while one is served; beyond it the client has to wait."""
MAX_WHOLE = 2**53
"""JSON's numbers are doubles, which count no further. Python reads 4,300 digits."""
MAX_REQUEST_ID_CHARS = 128
"""A UUID has 36. The protocol promises clients 128."""
MAX_TAG_BYTES = 255
"""Of a request id in UTF-8: in tagged framing its length goes before it as one byte."""
MIN_SPEED, MAX_SPEED = 0.5, 2.0
"""Beyond these Kokoro's durations are no speech any more."""
MAX_GOT_CHARS = 100
"""How much of a refused value is sent back: enough to recognise it."""

# What a connection keeps.

MAX_UNSENT_MESSAGES = 64
"""Replies to a client that does not read them; then the session stops reading from it."""
REMEMBERED_REQUESTS = 4_096
"""Ended requests that are told apart from ids that were never seen: half a megabyte of ids."""

# An utterance.

MAX_LETTERS_PER_WORD = 50
"""Longer than any English word, so that a text without spaces does not count as one word."""
LETTERS_PER_UNSPACED_WORD = 2
"""Chinese words have about one and a half characters, Japanese ones (kana included) and Thai ones more."""
MAX_SENTENCE_CHARS = 1_000
"""Longer sentences are cut before grapheme-to-phoneme: at about one phoneme a character this is twice what
a segment holds, so they would be cut anyway."""
MAX_PAUSE_S = 10.0
"""One pause. A client that wants a longer one can wait by itself."""
MAX_PAUSES_S = 30.0
"""All pauses of a text together. The request holds a slot while its listener hears only silence."""
MAX_UTTERANCE_PHONEMES = 10_000
"""Over ten minutes of speech. 150 words have 1,200; but a number of 3,000 digits counts as 60 words."""
MAX_PRONOUNCED_CHARS, MAX_PRONUNCIATION_PHONEMES = 60, 200
"""Of `[word](/phonemes/)`: a long word or a name of several, at three phonemes a character."""
MAX_MARKDOWN_CHARS, MAX_MARKDOWN_BRACKETS = 10_000, 500
"""Beyond these a text is read as it stands: markdown-it searches the text behind each "[" to its end."""
MAX_MARKDOWN_NESTING = 100
"""Of quotes in quotes; markdown-it drops what is deeper."""

# A voice.

MAX_RECIPE_CHARS, MAX_RECIPE_VOICES = 2_000, 16
"""A blend of sixteen voices with their weights has some 400 characters."""

# Together's dialect.

MAX_CONTEXTS = 100
"""Of one connection. Pipecat uses one at a time."""
MAX_BUFFERED_CHARS = 20_000
"""Text that waits for a commit: some twenty minutes of speech."""
DEFAULT_PARTIAL_CHARS, MAX_PARTIAL_CHARS = 250, 1_000
"""Text that waits for the end of its sentence: a sentence is cut at so many anyway."""
MAX_PRONUNCIATIONS, MAX_PRONUNCIATION_CHARS = 200, 100
"""Rules in a `pronunciation_dict`, and the characters of each side of one: a dictionary of names."""
MAX_PRONUNCIATION_SOURCES_CHARS = 2_000
"""Of all rules together: at each place of a text, each character of each rule may be compared."""
MAX_PARAMETER_CHARS = 2_000
"""A parameter that is a string: the longest is the recipe of a voice."""
