"""Figures, units and signs in Japanese, written so that MeCab reads them as they are said.

Numbers become Han numerals, which the dictionary knows with what they count; what it reads otherwise
than it is said is in `counted`.
"""

import re
from collections.abc import Iterable, Iterator

from num2words import num2words  # type: ignore[import-untyped]

from kokoro_trio.text.plain_figures import Rule, plain, reworded
from kokoro_trio.text.traced import Traced

MAX_FIGURES = 16
"""Longer numbers are read figure by figure, as are those with a zero in front."""

_FIGURES = ["ゼロ", "イチ", "ニ", "サン", "ヨン", "ゴ", "ロク", "ナナ", "ハチ", "キュー"]
_CURRENCIES = {"¥": "円", "$": "ドル", "€": "ユーロ", "£": "ポンド"}
_SIGNS = {
    "%": "パーセント",
    "&": "アンド",
    "+": "プラス",
    "=": "イコール",
    "×": "カケル",
    "÷": "ワル",
    "@": "アットマーク",
    "#": "シャープ",
}
_UNITS = {
    "km/h": "キロメートル毎時",
    "km": "キロメートル",
    "cm": "センチメートル",
    "mm": "ミリメートル",
    "m": "メートル",
    "kg": "キログラム",
    "mg": "ミリグラム",
    "g": "グラム",
    "ml": "ミリリットル",
    "mL": "ミリリットル",
    "L": "リットル",
    "KB": "キロバイト",
    "MB": "メガバイト",
    "GB": "ギガバイト",
    "TB": "テラバイト",
    "GHz": "ギガヘルツ",
    "MHz": "メガヘルツ",
    "Hz": "ヘルツ",
    "kW": "キロワット",
    "W": "ワット",
    "V": "ボルト",
    "°C": "度",
    "°F": "度",
    "°": "度",
}

_NUMERALS = "〇一二三四五六七八九十百千"


def _doubled(counter: str, said: str, figures: str = "一六八十") -> dict[str, str]:
    """With figures that lose their end before what they count."""
    stems = {"一": "イッ", "六": "ロッ", "八": "ハッ", "十": "ジュッ"}
    return {figure + counter: stems[figure] + said for figure in figures}


def _by_word(pairs: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in pairs.split())


_WHOLE = _by_word(
    "一人:ヒトリ 二人:フタリ 一日:イチニチ 二日:フツカ 三日:ミッカ 四日:ヨッカ 五日:イツカ 六日:ムイカ "
    "七日:ナノカ 八日:ヨーカ 九日:ココノカ 十日:トーカ 十四日:ジューヨッカ 二十日:ハツカ "
    "二十四日:ニジューヨッカ 一つ:ヒトツ 二つ:フタツ 三つ:ミッツ 四つ:ヨッツ 五つ:イツツ 六つ:ムッツ "
    "七つ:ナナツ 八つ:ヤッツ 九つ:ココノツ 四月:シガツ 七月:シチガツ 九月:クガツ 二十歳:ハタチ"
)
"""How numbers are said together with what they count, where that is a word of its own."""
_WHOLE |= {f"{days}間": f"{said}カン" for days, said in _WHOLE.items() if days.endswith("日")}
_LAST = {
    **_by_word(
        "四人:ヨニン 四年:ヨネン 四年間:ヨネンカン 四年生:ヨネンセー 四円:ヨエン 四時:ヨジ 七時:シチジ "
        "九時:クジ 四時間:ヨジカン 七時間:シチジカン 九時間:クジカン 三分:サンプン 四分:ヨンプン "
        "三分間:サンプンカン 四分間:ヨンプンカン 二本:ニホン 三本:サンボン 四本:ヨンホン 五本:ゴホン "
        "七本:ナナホン 九本:キューホン 二杯:ニハイ 三杯:サンバイ 四杯:ヨンハイ 五杯:ゴハイ 七杯:ナナハイ "
        "九杯:キューハイ 三匹:サンビキ 三階:サンガイ 三軒:サンゲン 四:ヨン 七:ナナ"
    ),
    **_doubled("分", "プン"),
    **_doubled("分間", "プンカン"),
    **_doubled("本", "ポン"),
    **_doubled("杯", "パイ"),
    **_doubled("匹", "ピキ"),
    **_doubled("階", "カイ"),
    **_doubled("回", "カイ"),
    **_doubled("個", "コ"),
    **_doubled("軒", "ケン"),
    **_doubled("ヶ月", "カゲツ"),
    **_doubled("か月", "カゲツ"),
    **_doubled("カ月", "カゲツ"),
    **_doubled("歳", "サイ", "一八十"),
    **_doubled("才", "サイ", "一八十"),
    **_doubled("冊", "サツ", "一八十"),
    **_doubled("週間", "シューカン", "一八十"),
    **_doubled("頭", "トー", "一八十"),
    **_doubled("点", "テン", "一八十"),
}
"""The same for the last of several numerals; by themselves only behind others."""


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_BEHIND_OTHERS = {"四", "七"}
_NOT_A_FRACTION = "(?!の[一二三四五六七八九])"
_COUNTED = re.compile(
    rf"(?<=月)(?P<first>一日)|(?<![{_NUMERALS}])(?P<whole>{_alternatives(_WHOLE)}){_NOT_A_FRACTION}"
    r"|(?P<tens>[二三四五六七八九](?=十))?"
    rf"(?P<last>{_alternatives(_LAST.keys() - _BEHIND_OTHERS)}){_NOT_A_FRACTION}"
    r"|(?<=[十百千])(?P<behind>[四七])"
)
_AMBIGUOUS = "十分"
"""Ten minutes are rather written in figures; this mostly means "enough"."""


def counted(text: str) -> Iterator[tuple[int, int, str]]:
    """Where numerals and what they count are said otherwise than the dictionary says, and how."""
    for found in _COUNTED.finditer(text):
        if found["first"]:
            yield *found.span(), "ツイタチ"
        elif found["whole"]:
            yield *found.span(), _WHOLE[found["whole"]]
        elif found["tens"]:
            yield *found.span(), _FIGURES[_NUMERALS.index(found["tens"])] + _LAST[found["last"]]
        elif found[0] != _AMBIGUOUS:
            yield *found.span(), _LAST[found[0]]


def read_out(text: str) -> Traced:
    return reworded(plain(Traced.of(text)), _RULES)


def _figure_by_figure(figures: str) -> str:
    return " ".join(_FIGURES[int(figure)] for figure in figures)


def _number(figures: str) -> str:
    if len(figures) > MAX_FIGURES or (figures[0] == "0" and len(figures) > 1):
        return f" {_figure_by_figure(figures)} "
    return str(num2words(int(figures), lang="ja"))


def _decimal(match: re.Match[str]) -> str:
    whole, *parts = match[0].split(".")
    return _number(whole) + "".join(f"点 {_figure_by_figure(part)} " for part in parts)


_RULES: list[Rule] = [
    (
        re.compile(r"(?<![\d-])0\d{1,4}-\d{1,4}-\d{3,4}(?![\d-])"),
        lambda phone: f" {', '.join(map(_figure_by_figure, phone[0].split('-')))} ",
    ),
    (
        re.compile(r"(?<![\d/-])(\d{4})([/-])(\d{1,2})\2(\d{1,2})(?![\d/-])"),
        lambda date: f"{date[1]}年{int(date[3])}月{int(date[4])}日",
    ),
    (
        re.compile(r"(?<![\d:])(\d{1,2}):([0-5]\d)(?![\d:])"),
        lambda time: f"{int(time[1])}時" + (f"{int(time[2])}分" if int(time[2]) else ""),
    ),
    (
        re.compile(r"([¥$€£])\s*(\d[\d.]*[千万億兆]*)"),
        lambda money: money[2] + _CURRENCIES[money[1]],
    ),
    (re.compile(r"[~〜～](?=\s*\d)"), lambda _: "から"),
    (re.compile(r"(?<![\d/.])(\d+)/(\d+)(?![\d/.])"), lambda part: f"{part[2]}分の{part[1]}"),
    (re.compile(r"(?<![\w.-])[-−](?=\d)"), lambda _: "マイナス "),
    (
        re.compile(rf"(?<=\d)\s?({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z])"),
        lambda unit: f" {_UNITS[unit[1]]} ",
    ),
    (re.compile(f"[{''.join(map(re.escape, _SIGNS))}]"), lambda sign: f" {_SIGNS[sign[0]]} "),
    (re.compile(r"(?<!\d)\d+(?:\.\d+)+"), _decimal),
    (re.compile(r"(?<!\d)10分(間?)(?!の)"), lambda ten: f" ジュップン{'カン' if ten[1] else ''} "),
    (re.compile(r"\d+"), lambda number: _number(number[0])),
]
