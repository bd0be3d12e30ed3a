"""Japanese: real MeCab and UniDic, no Kokoro weights."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.text.japanese import JapanesePronouncer


@pytest.fixture(scope="module")
def japanese() -> JapanesePronouncer:
    return JapanesePronouncer(english=lambda text: f"<{text}>")


def sound(japanese: JapanesePronouncer, text: str) -> str:
    return "".join(phonemes for _, phonemes in japanese(text)).strip()


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("こんにちは、世界！私は学生です。", "koɲɲiʨiβa, sekai! βatakɯɕi βa ɡakɯseː desɨ."),
        ("今日は3時に会う", "kʲoː βa saɴ ʥi ɲi aɯ"),
        ("2024年", "ɲi seɴ ɲiʥɨːjoɴ neɴ"),
        ("「すごい」と叫んだ…", "“sɨɡoi” to sakenda.."),
        ("ｶﾞﾝﾊﾞﾙ！", "ɡambaɾɯ!"),
        ("今日はMeetingがあるって", "kʲoː βa <Meeting> ɡa aɾɯʔte"),
        ("[東京](/toːkʲoː/)へ行く", "toːkʲoː e ikɯ"),
        ("", ""),
    ],
)
def test_sounds(japanese: JapanesePronouncer, text: str, phonemes: str) -> None:
    assert sound(japanese, text).replace("...", "..") == phonemes


def test_words_know_where_they_start(japanese: JapanesePronouncer) -> None:
    text = "今日は3時にMeetingがある。"
    starts = [start for start, _ in japanese(text)]
    assert [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)] == [
        "今日",
        "は",
        "3",
        "時",
        "に",
        "Meeting",
        "が",
        "ある",
        "。",
    ]


@given(st.text(max_size=40) | st.text("こんにちは世界、。ｶﾞ3.aB (「ッー", max_size=40))
@example("ッ")
@example("がガ\u3099゛")
@example("㍿①½")
def test_any_text_is_read_in_order(japanese: JapanesePronouncer, text: str) -> None:
    starts = [start for start, _ in japanese(text)]
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) for start in starts)
