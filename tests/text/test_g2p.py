"""Sentences to phonemes, with the real misaki, spaCy and espeak, and without Kokoro's weights."""

import re
import time
from importlib.util import find_spec

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.errors import BadLanguage
from kokoro_trio.speech import MAX_SEGMENT_PHONEMES, Segment, Word
from kokoro_trio.text import languages
from kokoro_trio.text.english import G2PUnavailable
from kokoro_trio.text.g2p import GraphemeToPhoneme
from kokoro_trio.text.languages import LANGUAGES
from kokoro_trio.text.lexicon import Lexicon
from kokoro_trio.text.reading import Sentence, read
from tests.support.models import ALPHABET
from tests.support.processes import output_of

IRREGULAR = """
about because children daughter enough february ghost height island jewelry knight laugh machine neighbor
ocean people queue rhythm school though unique vegetable women xylophone yacht zebra
"""
WORDS = IRREGULAR.split()


def whole(text: str) -> Sentence:
    return Sentence.at(text)


def phonemes_of(g2p: GraphemeToPhoneme, text: str, language: str = "a") -> str:
    segments = [s for sentence in read(text, language) for s in g2p.segments(sentence, language, 0)]
    return " ".join(segment.phonemes for segment in segments)


def test_sentence_becomes_segment_with_its_span_and_words(g2p: GraphemeToPhoneme) -> None:
    words = (Word(7, 12, 0, 5), Word(13, 19, 6, 12))
    expected = Segment(3, "həlˈO wˈɜɹld.", 7, 19, words)
    assert g2p.segments(Sentence.at("Hello world.", 7), "a", 3) == [expected]


def test_british_and_american_pronunciations_differ(g2p: GraphemeToPhoneme) -> None:
    for word in ("tomato", "bath", "schedule"):
        assert phonemes_of(g2p, word, "a") != phonemes_of(g2p, word, "b")


@pytest.mark.parametrize("word", ["Kubernetes", "Pipecat", "Groq", "Zürich"])
def test_espeak_pronounces_words_outside_the_dictionary(g2p: GraphemeToPhoneme, word: str) -> None:
    assert phonemes_of(g2p, word)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("Now: -10 degrees", "Now: minus 10 degrees"),  # spaCy tags -10 as punctuation here
        ("It costs $5.", "It costs 5 dollars."),
        ("ﬁne", "fine"),
        ("so\u00adft", "soft"),
        ("a\x00cat", "a cat"),
        ("nice 😀 cat", "nice cat"),
        ("one。", "one."),
        ("[Groq](/ɡɹˈɑk/) is", "[Groq](/gɹˈɑk/) is"),
    ],
)
def test_variants_have_the_same_phonemes(g2p: GraphemeToPhoneme, text: str, same_as: str) -> None:
    assert phonemes_of(g2p, text) == phonemes_of(g2p, same_as) != ""


def test_pronunciation_markup_overrides_the_dictionary(g2p: GraphemeToPhoneme) -> None:
    assert phonemes_of(g2p, "[Kokoro](/kˈOkəɹO/) is nice.") == "kˈOkəɹO ɪz nˈIs."


@pytest.mark.parametrize("language", ["a", "b", "e", "h"])
@pytest.mark.parametrize("text", ["", "...", "?!", "😀 👍🏽", "\x00\x07", "\ud800", "\u200b", "[[[", "—"])
def test_silent_text_has_no_segment(g2p: GraphemeToPhoneme, text: str, language: str) -> None:
    assert phonemes_of(g2p, text, language) == ""


@pytest.mark.parametrize("language", ["a", "e"])
@pytest.mark.parametrize(
    "text",
    [
        "9" * 400,  # num2words raises OverflowError
        "$" + "9" * 400 + ".99",
        "1.2.1" + "0" * 400,
        "x" * 1_000,
        "x-" * 500,
        "\ud800 hi",
        "a" + "\u0301" * 200,
        "مرحبا بالعالم",
        "1e400 -0 0x1F 1,,2 ½ Ⅻ ٣",
        "[a]() [b](-2) [](/c/) [d](/" + "k" * 900 + "/)",
    ],
)
def test_malformed_text_has_phonemes_of_the_alphabet(
    g2p: GraphemeToPhoneme, text: str, language: str
) -> None:
    phonemes = phonemes_of(g2p, text, language)
    assert phonemes
    assert ALPHABET.issuperset(phonemes)


@pytest.mark.parametrize("unit", ["x-", "a1", "aB", ".", "²", "\u0301", "|-", "कि"])
def test_thousand_repeated_characters_are_fast(g2p: GraphemeToPhoneme, unit: str) -> None:
    started = time.process_time()
    g2p.segments(whole(unit * (1_000 // len(unit))), "a", 0)
    # 0.7 s at most on the machine of the author; misaki alone took 1.6 s for 120 of these characters.
    assert time.process_time() - started < 5


def test_long_number_is_spoken_digit_by_digit(g2p: GraphemeToPhoneme) -> None:
    assert phonemes_of(g2p, "7" * 16) == " ".join([phonemes_of(g2p, "7")] * 16)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("e", "Buenos días, señor López: ¿cómo está usted?"),
        ("f", "Bonjour, où est la gare ? « Là-bas », garçon !"),
        ("h", "नमस्ते, आप कैसे हैं? मेरा नाम राम है।"),
        ("i", "Buongiorno, gli gnocchi sono buoni; che ragazzo!"),
        ("p", "Olá, não há coração sem emoção: o João põe."),
    ],
)
def test_espeak_languages_use_phonemes_of_the_alphabet(
    g2p: GraphemeToPhoneme, language: str, text: str
) -> None:
    (segment,) = g2p.segments(whole(text), language, 0)
    assert ALPHABET.issuperset(segment.phonemes)
    assert (segment.start_char, segment.end_char) == (0, len(text))
    assert segment.phonemes.count(" ") >= text.count(" ") - 3


@pytest.mark.parametrize("language", ["", "en-us", "x"])
def test_unknown_language_is_rejected(g2p: GraphemeToPhoneme, language: str) -> None:
    with pytest.raises(BadLanguage) as rejected:
        g2p.segments(whole("hello"), language, 0)
    assert rejected.value.facts() == {"got": language, "allowed": list(LANGUAGES.values()), "mend": None}


@pytest.mark.parametrize(
    ("language", "tag", "lacking"), [("j", "ja", "unidic_lite"), ("z", "zh", "pypinyin")]
)
def test_language_without_its_extra_is_rejected_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch, language: str, tag: str, lacking: str
) -> None:
    monkeypatch.setattr(languages, "find_spec", lambda name: None if name == lacking else find_spec(name))
    g2p = GraphemeToPhoneme(ALPHABET)
    with pytest.raises(BadLanguage, match=rf"bash scripts/setup\.sh --{tag}") as rejected:
        g2p.segments(whole("你好"), language, 0)
    assert tag not in rejected.value.allowed
    assert phonemes_of(g2p, "你好 こんにちは", "a")  # espeak pronounces the words instead


@pytest.mark.parametrize("language", ["a", "b", "e"])
def test_long_sentence_is_split_without_losing_words(g2p: GraphemeToPhoneme, language: str) -> None:
    clause = "la casa grande es muy bonita" if language == "e" else "the rain in spain falls on the plain"
    text = ", ".join([clause] * 25) + "."
    segments = g2p.segments(Sentence.at(text, 100), language, 5)
    assert [segment.index for segment in segments] == list(range(5, 5 + len(segments)))
    assert all(len(segment.phonemes) <= MAX_SEGMENT_PHONEMES for segment in segments)
    assert all(segment.phonemes.endswith((",", ".")) for segment in segments)
    spoken = [text[segment.start_char - 100 : segment.end_char - 100] for segment in segments]
    assert " ".join(spoken) == text
    assert "".join(spoken).count(clause) == 25
    once = phonemes_of(g2p, clause + ",", language)
    assert " ".join(segment.phonemes for segment in segments) == " ".join([once] * 25)[:-1] + "."


def test_spans_are_correct_behind_pronunciation_markup(g2p: GraphemeToPhoneme) -> None:
    clause = "[Kokoro](/kˈOkəɹO/) speaks 12 words of Zürich's don't-know English"
    text = ", ".join([clause] * 14)
    segments = g2p.segments(whole(text), "a", 0)
    assert len(segments) > 1
    assert " ".join(text[segment.start_char : segment.end_char] for segment in segments) == text
    assert all(text.startswith("[Kokoro]", segment.start_char) for segment in segments)


def words_of(g2p: GraphemeToPhoneme, text: str, language: str = "a") -> list[tuple[str, str]]:
    """Each written word with its phonemes."""
    return [
        (text[word.start_char : word.end_char], segment.phonemes[word.start_phoneme : word.end_phoneme])
        for sentence in read(text, language)
        for segment in g2p.segments(sentence, language, 0)
        for word in segment.words
    ]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("a", "Hello, **bold** world!", ["Hello,", "bold", "world!"]),
        ("a", "“Yes” — she said…no—‘never…’", ["“Yes”", "she", "said…", "no—", "‘never…"]),
        ("a", "[Kokoro](/kˈOkəɹO/), [a b](/ˈA bˈi/) too.", ["Kokoro", "a b", "too."]),
        ("a", "It costs $3.50 & more", ["It", "costs", "$3.50", "&", "more"]),
        ("a", "well-known don't- U.S. (really)", ["well-known", "don't-", "U.S.", "(really)"]),
        ("a", "a 😀 cat - sat", ["a", "cat", "sat"]),
        ("a", "say привет to नमस्ते now", ["say", "привет", "to", "नमस्ते", "now"]),
        ("a", "- one\n- [two](http://a.b)", ["one", "two"]),
        ("e", "De la casa, ¿qué hay 25?", ["De", "la", "casa,", "¿qué", "hay", "25?"]),
        ("f", "Qu'est-ce que c'est ? L'eau.", ["Qu'est-ce", "que", "c'est", "L'eau."]),
        ("h", "मैं Python सीखता हूँ", ["मैं", "Python", "सीखता", "हूँ"]),
        ("i", "Dell'acqua, gli gnocchi.", ["Dell'acqua,", "gli", "gnocchi."]),
        ("j", "今日は3時にMeetingがある。", ["今日", "は", "3時", "に", "Meeting", "が", "ある。"]),
        ("j", "[東京](/toːkʲoː/)へ、行く！", ["東京", "へ、", "行く！"]),
        ("j", "AI[東京](/toːkʲoː/)5", ["AI", "東京", "5"]),
        ("z", "我有3个苹果，用Python。", ["我", "有", "3个", "苹果，", "用", "Python。"]),
        ("z", "我说：“好”，AI。", ["我", "说：“", "好”，", "AI。"]),
        ("z", "5%“[重庆](/ꭧʰʊ↗ŋʨʰi↘ŋ/)”Python", ["5%“", "重庆", "Python"]),
        ("z", "**你好** [GPT](/ʤˌipˌitˈi/)", ["你好", "GPT"]),
        ("p", "O João põe [Groq](/ɡɾˈɔk/)!", ["O", "João", "põe", "Groq"]),
    ],
)
def test_words_are_spans_of_the_written_text(
    g2p: GraphemeToPhoneme, language: str, text: str, words: list[str]
) -> None:
    found = words_of(g2p, text, language)
    assert [word for word, _ in found] == words
    assert all(phonemes.strip() == phonemes != "" for _, phonemes in found)


def test_each_word_has_its_own_phonemes(g2p: GraphemeToPhoneme) -> None:
    assert words_of(g2p, "Say [Kokoro](/kˈOkəɹO/), world.") == [
        ("Say", "sˈA"),
        ("Kokoro", "kˈOkəɹO"),
        ("world.", "wˈɜɹld"),
    ]


def test_words_that_espeak_joins_share_the_phonemes(g2p: GraphemeToPhoneme) -> None:
    spoken = words_of(g2p, "Qu'est-ce que c'est, l'eau ?", "f")
    assert spoken == [("Qu'est-ce", "kɛs"), ("que", "kˌə"), ("c'est,", "sˈɛ"), ("l'eau", "lˈo")]


@pytest.mark.parametrize(
    "text", ["Привет", "Καλημέρα", "שלום", "مرحبا", "नमस्ते", "안녕하세요", "你好", "こんにちは"]
)
def test_words_in_foreign_scripts_are_pronounced(g2p: GraphemeToPhoneme, text: str) -> None:
    assert len(phonemes_of(g2p, text)) >= len(text) - 2
    assert phonemes_of(g2p, text) in phonemes_of(g2p, f"He said {text}.")


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12))
def test_every_english_word_is_pronounced(g2p: GraphemeToPhoneme, words: list[str]) -> None:
    assert len(phonemes_of(g2p, " ".join(words)).split()) == len(words)


TRICKY = "cat Kokoro 5 -5 $3.50 1,000 5th U.S. don't ... — ( ] \" @"
PIECES = [*TRICKY.split(), "\n"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8), st.sampled_from(list(LANGUAGES)))
def test_any_text_has_ascending_spans_and_phonemes_of_the_alphabet(
    g2p: GraphemeToPhoneme, pieces: list[str], language: str
) -> None:
    text = " ".join(pieces)
    bounds = [0]
    word_bounds = [0]
    for sentence in read(text, language):
        for segment in g2p.segments(sentence, language, 0):
            assert ALPHABET.issuperset(segment.phonemes)
            assert 0 < len(segment.phonemes.strip()) == len(segment.phonemes) <= MAX_SEGMENT_PHONEMES
            bounds += segment.start_char, segment.end_char
            check_words(segment)
            word_bounds += [bound for word in segment.words for bound in (word.start_char, word.end_char)]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= len(text)
    assert word_bounds == sorted(word_bounds)


SPECIAL = """
don't well-known U.S. e.g. 5 -5 $3.50 1,000,000 5th 3:30 50% NASA GPT-4 me@example.com snake_case naïve
**bold** https://example.com/a?b=c “quoted” (so) and/or привет sooooo 😀 — ... &
"""
MIXED = [*WORDS, *SPECIAL.split(), "\n\n- "]


@given(st.lists(st.sampled_from(MIXED), min_size=1, max_size=10), st.sampled_from(list(LANGUAGES)))
@example(pieces=["100", "50%"], language="z")
def test_no_written_word_is_lost(g2p: GraphemeToPhoneme, pieces: list[str], language: str) -> None:
    """Each space-separated piece with a letter or a digit overlaps a word with phonemes."""
    text = " ".join(pieces)
    spoken = [
        (word.start_char, word.end_char)
        for sentence in read(text, language)
        for segment in g2p.segments(sentence, language, 0)
        for word in segment.words
    ]
    for found in re.finditer(r"\S*[^\W_]\S*", text):
        assert any(start < found.end() and found.start() < end for start, end in spoken), found.group()


def check_words(segment: Segment) -> None:
    assert segment.words
    phonemes = [bound for word in segment.words for bound in (word.start_phoneme, word.end_phoneme)]
    assert phonemes == sorted(phonemes)
    assert all(word.start_phoneme < word.end_phoneme <= len(segment.phonemes) for word in segment.words)
    assert all(
        segment.start_char <= word.start_char < word.end_char <= segment.end_char for word in segment.words
    )


def test_lexicon_change_takes_effect_with_the_next_sentence() -> None:
    lexicons = [Lexicon({"": {"Groq": "ɡɹˈɑk"}}), Lexicon({"": {"Groq": "kˈɑɹ"}, "e": {"Groq": "ɡɾˈok"}})]
    g2p = GraphemeToPhoneme(ALPHABET, lambda: lexicons[0])
    text = "Ask Groq now."
    assert words_of(g2p, text)[1] == ("Groq", "ɡɹˈɑk")
    lexicons.pop(0)
    assert words_of(g2p, text)[1] == ("Groq", "kˈɑɹ")
    assert words_of(g2p, text, "e")[1] == ("Groq", "ɡɾˈok")


def test_cached_sentence_is_moved_to_its_new_position(g2p: GraphemeToPhoneme) -> None:
    text = "The same words, once more."
    (first,) = g2p.segments(Sentence.at(text), "a", 0)
    (again,) = g2p.segments(Sentence.at(text, 40), "a", 2)
    moved = tuple(evolve(w, start_char=w.start_char + 40, end_char=w.end_char + 40) for w in first.words)
    assert again == Segment(2, first.phonemes, 40, 40 + len(text), moved)
    assert g2p.segments(whole(text), "b", 0)[0].phonemes != first.phonemes


def test_missing_spacy_model_is_an_error_and_not_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object) -> None:
        pytest.fail("tried to download")

    monkeypatch.setattr("spacy.util.is_package", lambda name: False)
    monkeypatch.setattr("spacy.cli.download", download)
    with pytest.raises(G2PUnavailable, match=r"en_core_web_sm.*setup\.sh"):
        GraphemeToPhoneme(ALPHABET).warm_up()


def test_importing_g2p_imports_neither_misaki_nor_spacy_nor_torch() -> None:
    code = "import sys, kokoro_trio.text.g2p; print({'misaki', 'spacy', 'torch'} & set(sys.modules))"
    assert output_of("-c", code).strip() == "set()"


def test_spacy_vocabulary_does_not_grow_with_new_words(g2p: GraphemeToPhoneme) -> None:
    def new_word(n: int) -> str:
        return "".join(chr(ord("a") + int(digit)) for digit in f"{n:04}").capitalize() + "zo"

    phonemes_of(g2p, "Warm up.")
    assert g2p._spacy_model is not None
    strings = g2p._spacy_model.vocab.strings
    n_strings = len(strings)
    for first in range(0, 1_000, 50):
        assert phonemes_of(g2p, " ".join(map(new_word, range(first, first + 50))) + ".")
    assert new_word(999) not in strings
    assert len(strings) == n_strings
