"""Kokoro itself: weights, voice packs, the prosody half and the vocoder half. torch lives only here.

libgomp reads GOMP_SPINCOUNT once, when torch loads it, so it is set before any room below imports
torch. Threads that spin at a barrier while another process holds their core cost a factor of up to
100: the prosody half of a 4.3 s sentence took 13.3 s by default and 0.35 s with this setting, on two
cores of which one was busy; on idle cores the two are equal.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
