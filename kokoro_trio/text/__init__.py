"""From the client's text to phonemes, with the span of each word in that text.

- `reading`: the text as sentences, by `markdown`, `markup` (pronunciations and pauses) and `segmentation`
- `normalization`: numbers, dates, addresses, symbols and abbreviations as words
- `g2p`: grapheme-to-phoneme. One pronouncer for each language: `english`, `espeak`, `japanese`, `mandarin`
  (they share `pronouncing`); `foreign` finds words in other scripts, `lexicon` holds the operator's own
- `client_words`: the phonemes of each word that the client wrote
- `languages`: the languages of Kokoro's voices
- `traced`: a rewritten text that knows the original span of each of its characters
"""
