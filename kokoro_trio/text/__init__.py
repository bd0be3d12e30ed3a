"""From the client's text to phonemes, and back to the client's words.

- `reading`: sentences, by `markdown`, `markup` and `segmentation`
- `normalization`: figures, dates, addresses and signs as words
- `g2p`: grapheme-to-phoneme, by a pronouncer for each language: `english`, `espeak`, `japanese`, `mandarin`
  (with their `_readings`), what they share in `pronouncing`; `foreign` words, the operator's `lexicon`
- `languages`: which there are; `traced`: a text that is rewritten and knows where it comes from
"""
