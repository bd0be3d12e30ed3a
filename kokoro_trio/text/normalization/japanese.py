"""Normalisation of Japanese: digits, units and signs are rewritten as MeCab's dictionary has them.

Numbers become Han numerals, which the dictionary knows together with their counters. Where its reading of a
numeral with its counter is wrong, `counter_readings` has the right one.
"""

import re
from collections.abc import Iterator

from num2words import num2words  # type: ignore[import-untyped]

from kokoro_trio.text.normalization import east_asian
from kokoro_trio.text.normalization.east_asian import DATE, MAX_DIGITS, Rewrite, money, pairs, signs, units
from kokoro_trio.text.normalization.rules import any_of
from kokoro_trio.text.traced import Traced

_DIGITS = ["ゼロ", "イチ", "ニ", "サン", "ヨン", "ゴ", "ロク", "ナナ", "ハチ", "キュー"]
_CURRENCIES = pairs("¥:円 $:ドル €:ユーロ £:ポンド")
_SIGNS = pairs("%:パーセント &:アンド +:プラス =:イコール ×:カケル ÷:ワル @:アットマーク #:シャープ")
_UNITS = pairs(
    "km/h:キロメートル毎時 km:キロメートル cm:センチメートル mm:ミリメートル m:メートル "
    "kg:キログラム mg:ミリグラム g:グラム ml:ミリリットル mL:ミリリットル L:リットル "
    "KB:キロバイト MB:メガバイト GB:ギガバイト TB:テラバイト GHz:ギガヘルツ MHz:メガヘルツ "
    "Hz:ヘルツ kW:キロワット W:ワット V:ボルト °C:度 °F:度 °:度"
)

_NUMERALS = "〇一二三四五六七八九十百千"


def _geminated(counters: str, numerals: str = "一六八十") -> dict[str, str]:
    """Readings of numerals whose end is assimilated to the counter."""
    stems = {"一": "イッ", "六": "ロッ", "八": "ハッ", "十": "ジュッ"}
    return {
        numeral + counter: stems[numeral] + reading
        for counter, reading in pairs(counters).items()
        for numeral in numerals
    }


_WHOLE = pairs(
    "一人:ヒトリ 二人:フタリ 一日:イチニチ 二日:フツカ 三日:ミッカ 四日:ヨッカ 五日:イツカ 六日:ムイカ "
    "七日:ナノカ 八日:ヨーカ 九日:ココノカ 十日:トーカ 十四日:ジューヨッカ 二十日:ハツカ "
    "二十四日:ニジューヨッカ 一つ:ヒトツ 二つ:フタツ 三つ:ミッツ 四つ:ヨッツ 五つ:イツツ 六つ:ムッツ "
    "七つ:ナナツ 八つ:ヤッツ 九つ:ココノツ 四月:シガツ 七月:シチガツ 九月:クガツ 二十歳:ハタチ"
)
"""Readings of a numeral with its counter, where no other numeral stands before it."""
_WHOLE |= {f"{days}間": f"{reading}カン" for days, reading in _WHOLE.items() if days.endswith("日")}
_LAST = {
    **pairs(
        "四人:ヨニン 四年:ヨネン 四年間:ヨネンカン 四年生:ヨネンセー 四円:ヨエン 四時:ヨジ 七時:シチジ "
        "九時:クジ 四時間:ヨジカン 七時間:シチジカン 九時間:クジカン 三分:サンプン 四分:ヨンプン "
        "三分間:サンプンカン 四分間:ヨンプンカン 二本:ニホン 三本:サンボン 四本:ヨンホン 五本:ゴホン "
        "七本:ナナホン 九本:キューホン 二杯:ニハイ 三杯:サンバイ 四杯:ヨンハイ 五杯:ゴハイ 七杯:ナナハイ "
        "九杯:キューハイ 三匹:サンビキ 三階:サンガイ 三軒:サンゲン 四:ヨン 七:ナナ"
    ),
    **_geminated(
        "分:プン 分間:プンカン 本:ポン 杯:パイ 匹:ピキ 階:カイ 回:カイ 個:コ 軒:ケン "
        "ヶ月:カゲツ か月:カゲツ カ月:カゲツ"
    ),
    **_geminated("歳:サイ 才:サイ 冊:サツ 週間:シューカン 頭:トー 点:テン", "一八十"),
}
"""Readings of the last of several numerals with its counter, or of a single one."""
_ONLY_BEHIND_OTHERS = {"四", "七"}
_NOT_A_FRACTION = "(?!の[一二三四五六七八九])"
_COUNTED = re.compile(
    rf"""(?<=月)(?P<first_of_month>一日)
    | (?<![{_NUMERALS}])(?P<whole>{any_of([*_WHOLE])}){_NOT_A_FRACTION}
    | (?P<tens>[二三四五六七八九](?=十))?
      (?P<last>{any_of([*_LAST.keys() - _ONLY_BEHIND_OTHERS])}){_NOT_A_FRACTION}
    | (?<=[十百千])(?P<behind>[四七])""",
    re.VERBOSE,
)
_AMBIGUOUS = "十分"
"""Mostly "enough": ten minutes are usually written with digits."""


def counter_readings(text: str) -> Iterator[tuple[int, int, str]]:
    """The spans of numerals with counters that the dictionary reads wrongly, each with its reading."""
    for found in _COUNTED.finditer(text):
        if found["first_of_month"]:
            yield *found.span(), "ツイタチ"
        elif found["whole"]:
            yield *found.span(), _WHOLE[found["whole"]]
        elif found["tens"]:
            yield *found.span(), _DIGITS[_NUMERALS.index(found["tens"])] + _LAST[found["last"]]
        elif found[0] != _AMBIGUOUS:
            yield *found.span(), _LAST[found[0]]


def normalized(text: str) -> Traced:
    return east_asian.normalized(text, _RULES)


def _digit_by_digit(digits: str) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in digits)


def _number(digits: str) -> str:
    if len(digits) > MAX_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return f" {_digit_by_digit(digits)} "
    return str(num2words(int(digits), lang="ja"))


def _decimal(match: re.Match[str]) -> str:
    whole, *parts = match[0].split(".")
    return _number(whole) + "".join(f"点 {_digit_by_digit(part)} " for part in parts)


def _time(match: re.Match[str]) -> str:
    hours, minutes = int(match["hours"]), int(match["minutes"])
    return f"{hours}時{minutes}分" if minutes else f"{hours}時"


_RULES: list[Rewrite] = [
    (
        re.compile(r"(?<![\d-])0\d{1,4}-\d{1,4}-\d{3,4}(?![\d-])"),
        lambda phone: f" {', '.join(map(_digit_by_digit, phone[0].split('-')))} ",
    ),
    DATE,
    (re.compile(r"(?<![\d:])(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d)(?![\d:])"), _time),
    money(_CURRENCIES, r"\d[\d.]*[千万億兆]*"),
    (re.compile(r"[~〜～](?=\s*\d)"), lambda _: "から"),
    (
        re.compile(r"(?<![\d/.])(?P<over>\d+)/(?P<under>\d+)(?![\d/.])"),
        lambda fraction: f"{fraction['under']}分の{fraction['over']}",
    ),
    (re.compile(r"(?<![\w.-])[-−](?=\d)"), lambda _: "マイナス "),
    units(_UNITS, space=" "),
    signs(_SIGNS, space=" "),
    (re.compile(r"(?<!\d)\d+(?:\.\d+)+"), _decimal),
    (
        re.compile(r"(?<!\d)10分(?P<long>間?)(?!の)"),
        lambda minutes: f" ジュップン{'カン' if minutes['long'] else ''} ",
    ),
    (re.compile(r"\d+"), lambda number: _number(number[0])),
]
