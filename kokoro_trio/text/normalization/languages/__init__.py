"""The vocabularies of the languages, by the first letter of a voice's name."""

from kokoro_trio.text.normalization.languages.english import AMERICAN, BRITISH
from kokoro_trio.text.normalization.languages.french import FRENCH
from kokoro_trio.text.normalization.languages.hindi import HINDI
from kokoro_trio.text.normalization.languages.italian import ITALIAN
from kokoro_trio.text.normalization.languages.portuguese import PORTUGUESE
from kokoro_trio.text.normalization.languages.spanish import SPANISH

VOCABULARIES = {
    vocabulary.code: vocabulary
    for vocabulary in (AMERICAN, BRITISH, SPANISH, FRENCH, HINDI, ITALIAN, PORTUGUESE)
}
