"""The scheduler, the inference thread, grapheme-to-phoneme, and the streams of audio that they make."""
