"""Normalisation of Mandarin: what cn2an does not verbalize, or verbalizes wrongly."""

import re

from kokoro_trio.text.normalization import east_asian
from kokoro_trio.text.normalization.east_asian import DATE, MAX_DIGITS, Rewrite, money, pairs, signs, units
from kokoro_trio.text.traced import Traced

_DIGITS = "零一二三四五六七八九"
_CURRENCIES = pairs("¥:元 $:美元 €:欧元 £:英镑")
_SIGNS = pairs("&:和 +:加 =:等于 ×:乘 ÷:除以") | {"~": " ", "～": " "}
_UNITS = pairs(
    "km/h:公里每小时 km:公里 cm:厘米 mm:毫米 m:米 kg:公斤 mg:毫克 g:克 ml:毫升 mL:毫升 L:升 "
    "°C:摄氏度 °F:华氏度 °:度"
)
_COUNTED_AS_A_PAIR = (
    "[个位本只张件杯次天种家台辆条块瓶双岁周倍点秒斤米元万千亿]|小时|分钟|公斤|公里|年(?!级|代)"
)
"""Counters before which two is "liang"."""
_PHONE = re.compile(
    r"""(?<![\d.-])
    (?: 1[3-9]\d{9} | 0\d{2,3}-\d{7,8} | \d{3}-\d{4}-\d{4} )
    (?![\d.-])""",
    re.VERBOSE,
)
_TIME = re.compile(
    r"""(?<![\d:])
    (?P<hours>[01]?\d|2[0-4]) : (?P<minutes>[0-5]\d) (?: :(?P<seconds>[0-5]\d) )?
    (?![\d:])""",
    re.VERBOSE,
)


def normalized(text: str) -> Traced:
    return east_asian.normalized(text, _RULES)


def _digit_by_digit(digits: str, one: str = "一") -> str:
    return "".join(one if digit == "1" else _DIGITS[int(digit)] for digit in digits)


def _phone(match: re.Match[str]) -> str:
    """With "yao" for one, which could be heard as seven otherwise."""
    return ", ".join(_digit_by_digit(part, one="幺") for part in match[0].split("-"))


def _time(match: re.Match[str]) -> str:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    spoken = f"{'两' if hours == 2 else hours}点"
    if minutes or seconds:
        spoken += f"{'零' * (minutes < 10)}{minutes or ''}分"
    return spoken + (f"{seconds}秒" if seconds else "")


_RULES: list[Rewrite] = [
    (re.compile("〇"), lambda _: "零"),
    (_PHONE, _phone),
    DATE,
    (_TIME, _time),
    money(_CURRENCIES, r"\d+(?:\.\d+)?[百千万亿]*"),
    (re.compile(r"(?<=\d)\s*[~～〜]\s*(?=\d)"), lambda _: "到"),
    # The hyphen of a name like GPT-4 is no minus sign.
    (re.compile(r"(?<=[A-Za-z])-(?=\d)"), lambda _: " "),
    (re.compile(r"(?<![0-9A-Za-z.])[-−](?=\d)"), lambda _: "负"),
    units(_UNITS),
    signs(_SIGNS),
    (
        re.compile(rf"\d{{{MAX_DIGITS + 1},}}|(?<![\d.])0\d+"),
        lambda number: _digit_by_digit(number[0]),
    ),
    (re.compile(rf"(?<![\d.第/-])2(?={_COUNTED_AS_A_PAIR})"), lambda _: "两"),
]
