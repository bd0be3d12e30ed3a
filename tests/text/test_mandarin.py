"""Mandarin pronunciation, with the real jieba and pypinyin, and without Kokoro's weights."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kokoro_trio.text.mandarin import MandarinPronouncer


@pytest.fixture(scope="module")
def mandarin() -> MandarinPronouncer:
    return MandarinPronouncer(english=lambda text: f"<{text}>")


def phonemes_of(mandarin: MandarinPronouncer, text: str) -> str:
    return "".join(phonemes for _, phonemes in mandarin(text)).strip()


def test_loading_writes_no_file_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert MandarinPronouncer(english=str)("你好") == [(0, "ni↓xau↓")]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("你好，世界！", "ni↓xau↓, ʂɨ↘ʨje↘!"),
        ("我有3个苹果。", "wo↓ jou↓ sa→nkɤ↘ pʰi↗ŋkwo↓."),
        ("2024年5月1日", "ɚ↘li↗ŋɚ↘ sɨ↘njɛ↗n u↓ɥe↘ i→ɻɨ↘"),
        ("重庆银行的行长", "ꭧʰʊ↗ŋʨʰi↘ŋ i↗nxa↗ŋ tɤ xa↗ŋꭧa↓ŋ"),
        ("他说：“好”", "tʰa→ ʂwo→:“xau↓”"),
        ("我用 Python 写代码。", "wo↓jʊ↘ŋ <Python> ɕje↓ tai↘ma↓."),
        ("[你好](/ni↓xau↓/)吗", "ni↓xau↓ ma"),
        ("", ""),
    ],
)
def test_words_and_marks_have_their_phonemes(mandarin: MandarinPronouncer, text: str, phonemes: str) -> None:
    assert phonemes_of(mandarin, text) == phonemes


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("1,000,000元", "一百万元"),
        ("13800138000", "幺三八零零幺三八零零零"),
        ("23:59", "二十三点五十九分"),
        ("2:05", "两点零五分"),
        ("¥12.50", "十二点五零元"),
        ("2024-05-01", "二零二四年五月一日"),
        ("5kg", "五公斤"),
        ("3~5个", "三到五个"),
        ("2个", "两个"),
        ("第2个", "第二个"),
        ("2年级", "二年级"),
        ("二〇二四年", "二零二四年"),
        ("007", "零零七"),
        ("１２３", "一百二十三"),
        ("٣", "三"),
        ("𠮷", "吉"),
        ("『好』", "“好”"),
    ],
)
def test_digits_and_signs_are_verbalized(mandarin: MandarinPronouncer, text: str, same_as: str) -> None:
    assert phonemes_of(mandarin, text).replace(" ", "") == phonemes_of(mandarin, same_as).replace(" ", "")


def test_hyphen_in_a_name_is_not_a_minus_sign(mandarin: MandarinPronouncer) -> None:
    assert phonemes_of(mandarin, "用GPT-4写，OK吗") == "jʊ↘ŋ <GPT> sɨ↘ɕje↓, <OK> ma"


def test_full_width_letters_are_english(mandarin: MandarinPronouncer) -> None:
    assert phonemes_of(mandarin, "ＡＢＣ公司") == "<ABC> kʊ→ŋsɨ→"


def test_circled_digits_stay_separate_numbers(mandarin: MandarinPronouncer) -> None:
    assert phonemes_of(mandarin, "①②③") == "i→ ɚ↘ sa→n"


def test_negative_temperature_is_verbalized(mandarin: MandarinPronouncer) -> None:
    assert phonemes_of(mandarin, "气温-3℃") == phonemes_of(mandarin, "气温负三摄氏度")


def test_words_have_their_start_positions(mandarin: MandarinPronouncer) -> None:
    text = "我有3个苹果，用Python。"
    starts = [start for start, _ in mandarin(text)]
    words = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert words == ["我", "有", "3个", "苹果", "，", "用", "Python", "。"]


@given(
    st.text(max_size=40)
    | st.text(st.characters(), max_size=20)
    | st.text("你好世界，。3.%-年月aB (“℃", max_size=40)
)
@example("1/0")
@example("\ud800")
@example("9" * 40)
@example("2024-13-45")
def test_any_text_has_ascending_positions(mandarin: MandarinPronouncer, text: str) -> None:
    starts = [start for start, _ in mandarin(text)]
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) for start in starts)
