"""The Kokoro model: voice packs, the prosody half and the vocoder half. Only model/ and weights/ use torch.

libgomp reads GOMP_SPINCOUNT when torch loads it, so this module sets it before any module below imports
torch. A thread that spins at a barrier while another process holds its core may slow inference down a
hundredfold: with one of two cores busy, the prosody half of a 4.3 s sentence took 13.3 s by default and
0.35 s with this setting. On idle cores both take equally long.

oneDNN caches prepared convolutions by shape, by default 1024 of them. The lengths of sentences and windows
rarely repeat, so a large cache costs time and memory: with a capacity of 128, 40 sentences took 8 to 9% less
time (three pairs of runs, two cores).
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
