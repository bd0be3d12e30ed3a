"""Kokoro itself: weights, voice packs, the prosody half and the vocoder half. torch lives only here.

libgomp reads GOMP_SPINCOUNT once, when torch loads it, so it is set before any room below imports
torch. Threads that spin at a barrier while another process holds their core cost a factor of up to
100: the prosody half of a 4.3 s sentence took 13.3 s by default and 0.35 s with this setting, on two
cores of which one was busy; on idle cores the two are equal.

ONEDNN_PRIMITIVE_CACHE_CAPACITY, read when oneDNN is first used, is how many convolutions of which shapes
it keeps prepared, by default 1024. As sentences and windows are of all lengths, most of them are not met
again soon. With 128, 40 sentences took 8 to 9% less time (three pairs of runs, two cores), and less memory.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
