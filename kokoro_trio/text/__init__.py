"""From the client's text to phonemes: sentences, then grapheme-to-phoneme."""
