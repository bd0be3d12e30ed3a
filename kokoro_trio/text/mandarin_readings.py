"""Figures, units and signs in Mandarin, as far as cn2an does not read them or reads them wrong."""

import re

from kokoro_trio.text.plain_figures import Rule, plain, reworded
from kokoro_trio.text.traced import Traced

MAX_FIGURES = 16
"""Longer numbers are read figure by figure, as are those with a zero in front."""

_FIGURES = "零一二三四五六七八九"
_CURRENCIES = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_SIGNS = {"&": "和", "+": "加", "=": "等于", "×": "乘", "÷": "除以", "~": " ", "～": " "}
_UNITS = {
    "km/h": "公里每小时",
    "km": "公里",
    "cm": "厘米",
    "mm": "毫米",
    "m": "米",
    "kg": "公斤",
    "mg": "毫克",
    "g": "克",
    "ml": "毫升",
    "mL": "毫升",
    "L": "升",
    "°C": "摄氏度",
    "°F": "华氏度",
    "°": "度",
}
_COUNTED_AS_A_PAIR = (
    "[个位本只张件杯次天种家台辆条块瓶双岁周倍点秒斤米元万千亿]|小时|分钟|公斤|公里|年(?!级|代)"
)
"""Before which two is "liang"."""


def read_out(text: str) -> Traced:
    return reworded(plain(Traced.of(text)), _RULES)


def _figure_by_figure(figures: str, one: str = "一") -> str:
    return "".join(one if figure == "1" else _FIGURES[int(figure)] for figure in figures)


def _time(match: re.Match[str]) -> str:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    spoken = f"{'两' if hours == 2 else hours}点"
    if minutes or seconds:
        spoken += f"{'零' * (minutes < 10)}{minutes or ''}分"
    return spoken + (f"{seconds}秒" if seconds else "")


_RULES: list[Rule] = [
    (re.compile("〇"), lambda _: "零"),
    # Where 1 is said "yao", not to be taken for 7.
    (
        re.compile(r"(?<![\d.-])(?:1[3-9]\d{9}|0\d{2,3}-\d{7,8}|\d{3}-\d{4}-\d{4})(?![\d.-])"),
        lambda phone: ", ".join(_figure_by_figure(part, one="幺") for part in phone[0].split("-")),
    ),
    (
        re.compile(r"(?<![\d/-])(\d{4})([/-])(\d{1,2})\2(\d{1,2})(?![\d/-])"),
        lambda date: f"{date[1]}年{int(date[3])}月{int(date[4])}日",
    ),
    (re.compile(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])"), _time),
    (
        re.compile(r"([¥$€£])\s*(\d+(?:\.\d+)?[百千万亿]*)"),
        lambda money: money[2] + _CURRENCIES[money[1]],
    ),
    (re.compile(r"(?<=\d)\s*[~～〜]\s*(?=\d)"), lambda _: "到"),
    # Not below zero, but part of a name: GPT-4.
    (re.compile(r"(?<=[A-Za-z])-(?=\d)"), lambda _: " "),
    (re.compile(r"(?<![0-9A-Za-z.])[-−](?=\d)"), lambda _: "负"),
    (
        re.compile(rf"(?<=\d)\s?({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z])"),
        lambda unit: _UNITS[unit[1]],
    ),
    (re.compile(f"[{''.join(map(re.escape, _SIGNS))}]"), lambda sign: _SIGNS[sign[0]]),
    (
        re.compile(rf"\d{{{MAX_FIGURES + 1},}}|(?<![\d.])0\d+"),
        lambda number: _figure_by_figure(number[0]),
    ),
    (re.compile(rf"(?<![\d.第/-])2(?={_COUNTED_AS_A_PAIR})"), lambda _: "两"),
]
