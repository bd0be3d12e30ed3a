"""Japanese pronunciation, with the real MeCab and UniDic, and without Kokoro's weights."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.text.japanese import JapanesePronouncer
from kokoro_trio.text.pronouncing import without_known_warning


@pytest.fixture(scope="module")
def japanese() -> JapanesePronouncer:
    return JapanesePronouncer(english=lambda text: f"<{text}>")


def phonemes_of(japanese: JapanesePronouncer, text: str) -> str:
    return "".join(phonemes for _, phonemes in japanese(text)).strip()


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("こんにちは、世界！私は学生です。", "koɲɲiʨiβa, sekai! βatakɯɕi βa ɡakɯseː desɨ."),
        ("今日は3時に会う", "kʲoː βa saɲʥi ɲi aɯ"),
        ("2024年", "ɲiseɴ ɲiʥɨː joneɴ"),
        ("「すごい」と叫んだ…", "“sɨɡoi” to sakenda.."),
        ("ｶﾞﾝﾊﾞﾙ！", "ɡambaɾɯ!"),
        ("今日はMeetingがあるって", "kʲoː βa <Meeting> ɡa aɾɯʔte"),
        ("[東京](/toːkʲoː/)へ行く", "toːkʲoː e ikɯ"),
        ("", ""),
    ],
)
def test_words_and_marks_have_their_phonemes(japanese: JapanesePronouncer, text: str, phonemes: str) -> None:
    assert phonemes_of(japanese, text).replace("...", "..") == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("300円", "sambʲakɯ eɴ"),
        ("1,980円", "seɴ kʲɨːçakɯ haʨiʥɨː eɴ"),
        ("4月1日", "ɕiɡaʦɨ ʦɨitaʨi"),
        ("1日", "iʨiɲiʨi"),
        ("20日", "haʦɨka"),
        ("2人と14人", "ɸɯtaɾʲi to ʥɨː joɲiɴ"),
        ("九時", "kɯʥi"),
        ("9:30", "kɯʥi saɲʥɨʔpɯɴ"),
        ("10分で十分", "ʥɨʔpɯɴ de ʥɨːbɯɴ"),
        ("3.14", "saɴ teɴ iʨi joɴ"),
        ("1/2", "ɲi bɯɴ no iʨi"),
        ("−5℃", "mainasɨ ɡo do"),
        ("10%", "ʥɨː paːsento"),
        ("50km", "ɡoʥɨː kʲiɾomeːtoɾɯ"),
        ("¥500", "ɡoçakɯ eɴ"),
        ("007", "ʣeɾo ʣeɾo nana"),
        ("①②", "iʨi ɲi"),
        ("٣", "saɴ"),
    ],
)
def test_digits_and_counters_are_verbalized(japanese: JapanesePronouncer, text: str, phonemes: str) -> None:
    assert phonemes_of(japanese, text) == phonemes


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("六本木", "ɾoʔpoŋɡʲi"),
        ("三日月", "mʲiʔkaʦɨkʲi"),
        ("三分の一", "saɴ bɯɴ no iʨi"),
        ("お母さん", "okaːsaɴ"),
        ("母は", "haha βa"),
        ("𠮷野家", "joɕino ie"),
    ],
)
def test_counter_readings_do_not_override_other_words(
    japanese: JapanesePronouncer, text: str, phonemes: str
) -> None:
    assert phonemes_of(japanese, text) == phonemes


@pytest.mark.parametrize("text", ["んぁ", "っぁ", "ーぁ", "ぁ", "かゞゝ", "あ\0い", "あ\ud800い"])
def test_invalid_kana_sequences_are_pronounced(japanese: JapanesePronouncer, text: str) -> None:
    assert set(phonemes_of(japanese, text)) & set("aiɯeo")


def test_full_width_letters_are_english(japanese: JapanesePronouncer) -> None:
    assert phonemes_of(japanese, "Ａ社とＢ社") == "<A> ɕa to <B> ɕa"


@pytest.mark.parametrize("repeated", ["今日は良い天気ですね、", "ッ", "1", "四", "。"])
def test_long_texts_are_fast(japanese: JapanesePronouncer, repeated: str) -> None:
    """75 ms at most; misaki itself took twenty seconds for some of them."""
    started_s = time.process_time()
    japanese((repeated * 1000)[:1000])
    assert time.process_time() - started_s < 2


def test_plain_text_has_the_phonemes_of_misaki(japanese: JapanesePronouncer) -> None:
    with without_known_warning():
        from misaki.cutlet import Cutlet  # type: ignore[import-untyped]
    misaki = Cutlet()
    for text in (
        "彼は「もう帰る」と言って、部屋を出ていった。",
        "えっ、本当に？　信じられない……",
        "コンピューターのキーボードが壊れた！",
        "人々は時々、佐々木さんの話をする。",
        "東京（とうきょう）・大阪：『本』〜です",
        "いすゞ、学問のすゝめ、こゝろ",
    ):
        phonemes, _ = misaki(text)
        with_our_brackets = phonemes.replace("«", "(").replace("»", ")")
        assert re.sub(" +", " ", phonemes_of(japanese, text)) == with_our_brackets


def test_words_have_their_start_positions(japanese: JapanesePronouncer) -> None:
    text = "今日は3時にMeetingがある。"
    starts = [start for start, _ in japanese(text)]
    assert [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)] == [
        "今日",
        "は",
        "3時",
        "に",
        "Meeting",
        "が",
        "ある",
        "。",
    ]


@given(
    st.text(max_size=40)
    | st.text(st.characters(), max_size=20)
    | st.text("こんにちは世界、。ｶﾞ3.aB (「ッーぁゃんゝ年月日四十", max_size=40)
)
@example("ッ")
@example("\ud800")
@example("፩")
@example("がガ\u3099゛")
@example("㍿①½")
def test_any_text_has_ascending_positions(japanese: JapanesePronouncer, text: str) -> None:
    starts = [start for start, _ in japanese(text)]
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) for start in starts)
