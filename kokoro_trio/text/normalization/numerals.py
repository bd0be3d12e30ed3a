"""Bare numbers: cardinals, ordinals, ranges, fractions, years, and codes that are spoken digit by digit."""

import re
import unicodedata

from kokoro_trio.text.normalization.number_words import NumberWords
from kokoro_trio.text.normalization.rules import Rule, WordByWord, by_group
from kokoro_trio.text.normalization.vocabulary import Vocabulary

NOT_IN_WORD = r"(?<![^\W_])(?<![^\W_][.,])"
ENDS = r"(?![^\W_]|[.,]\d)"
_FRACTIONS = {2: "half", 4: "quarter"}
_FRACTION_DENOMINATORS = frozenset((2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64))
_RATING_MAXIMA = frozenset((10, 100))
_COUNTED_NOUN = re.compile(r"\s(?!(?:was|is|has|this|its|as|us|vs)\b)[a-z]{3,}s\b(?!')")
_BEFORE_YEAR = re.compile(
    r"\b(?:in|since|from|by|until|till|of|year|before|after|during|circa|late|early|mid)\W+\Z", re.I
)
_ERA = re.compile(r"\s(?:AD|BC|CE|BCE)\b")
_BEFORE_CODE = re.compile(
    r"""\b(?:code|pin|id|zip|order|account|acct|ticket|tracking|confirmation|reference|extension|ext|serial
    |passcode|password|[A-Z]{2})
    \W{1,3} (?: (?:number|is|no|code)\W{1,2} )? \Z""",
    re.VERBOSE,
)
_NAMED_BY_NUMBERS = "Boeing Airbus Xbox RTX GTX Room room Flight flight Route Highway Suite HTTP error status"
_BEHIND_NAME = "|".join(rf"(?<=\b{name} )" for name in _NAMED_BY_NUMBERS.split())
_NAME_NUMBER = re.compile(rf"(?:{_BEHIND_NAME})\d{{3,4}}(?!\w|[.,:%]\d|%)")
_NOUN = re.compile(r"\s(?!(?:para|como|cada|contra|hasta|della|dalla|nella|alla|fora)\b)([^\W\d_]{3,})\b")
_DECADE_NAMES = "twenties thirties forties fifties sixties seventies eighties nineties"
_DECADES = dict(enumerate(_DECADE_NAMES.split(), 2))
_MAX_CONTEXT = 30
_NUMERIC_SIGN = re.compile(
    r"""[\u00b2\u00b3\u00b9\u2070-\u2079]  # superscripts
    | [\u2080-\u2089]  # subscripts
    | [\u00bc-\u00be\u2150-\u218b]  # fractions and Roman numerals
    | [\u2460-\u24ff\u2776-\u2793]  # in circles""",
    re.VERBOSE,
)
_DIGITS = re.compile(r"\d+")
_SCIENTIFIC = re.compile(
    rf"{NOT_IN_WORD}(?P<minus>-|−)?(?P<mantissa>\d+(?:\.\d+)?)[eE](?P<exponent>[+\-−]?\d+){ENDS}"
)
_ENGLISH_ORDINAL = re.compile(rf"{NOT_IN_WORD}(\d[\d,]*)(?:st|nd|rd|th)\b", re.I)
_DECADE = re.compile(
    r"""(?<!\w)
    (?: (?P<decade> (?:(?<=\bthe\ )|(?<=\bmid-)|(?<=early\ )|(?<=late\ ))\d0 | \d{3}0 ) ['’]?s
    | ['‘’](?P<short>\d0)s )\b""",
    re.VERBOSE,
)
_SHORT_YEAR = re.compile(r"(?<!\w)['‘’](\d\d)\b")
_FRACTION = re.compile(
    rf"""{NOT_IN_WORD} (?:(?P<whole>\d{{1,3}})\s)?
    (?P<over>\d{{1,3}})[/⁄](?P<under>\d{{1,3}}) (?:rds|ths|rd|th)? (?![\w/])""",
    re.VERBOSE,
)
_FRACTION_SIGN = re.compile(r"(?<!\d)(?P<minus>-|−)?(?P<whole>\d+)?(?P<sign>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
_RATING = re.compile(rf"{NOT_IN_WORD}(?P<points>\d+\.\d+)/(?P<maximum>5|10|100){ENDS}")
_YEARS = re.compile(rf"{NOT_IN_WORD}(?P<first>1[1-9]\d\d|20\d\d)[-–](?P<last>1[1-9]\d\d|20\d\d|\d\d){ENDS}")
_YEAR = re.compile(rf"{NOT_IN_WORD}(1\d\d\d|20\d\d){ENDS}")
_LONG = re.compile(rf"{NOT_IN_WORD}\d{{4,}}{ENDS}")


def early_rules(vocabulary: Vocabulary) -> list[Rule]:
    """Numbers of which later rules would take a part for something else."""
    numerals = _Numerals(vocabulary)
    english = _early_english_rules(vocabulary) if vocabulary.is_english else []
    ratio = _range(vocabulary.numbers.written, "(?P<joint>:)", f"{ENDS}(?!:)")
    return [
        Rule(_SCIENTIFIC, numerals.scientific),
        *english,
        Rule(ratio, numerals.range),
        *_ordinal_mark_rules(vocabulary, numerals),
    ]


def rules(vocabulary: Vocabulary) -> list[Rule]:
    numerals = _Numerals(vocabulary)
    number = vocabulary.numbers.written
    return [
        *(_english_rules(vocabulary) if vocabulary.is_english else []),
        Rule(_range(number, r"\s?(?P<joint>[–—])\s?", ENDS), numerals.range),
        Rule(_range(number, "(?P<joint>-)", f"{ENDS}(?!-)"), numerals.range),
        Rule(re.compile(rf"(?<![\w)])(?<![\w)][.,])[+\-−±]?{number}{ENDS}"), numerals.number),
    ]


def fallback_rules(vocabulary: Vocabulary) -> list[Rule]:
    """All digits and numeric signs that no other rule took."""
    numerals = _Numerals(vocabulary)
    return [Rule(_NUMERIC_SIGN, numerals.numeric_sign), Rule(_DIGITS, numerals.digits)]


def _range(number: str, joint: str, end: str) -> re.Pattern[str]:
    return re.compile(rf"{NOT_IN_WORD}(?P<first>{number}){joint}(?P<last>{number}){end}")


def _ordinal_mark_rules(vocabulary: Vocabulary, numerals: "_Numerals") -> list[Rule]:
    if not vocabulary.ordinals:
        return []
    marks = "|".join(sorted(vocabulary.ordinals, key=len, reverse=True))
    pattern = rf"{NOT_IN_WORD}(?P<number>\d{{1,6}})\.?(?P<mark>{marks})(?!\w)"
    return [Rule(re.compile(pattern), numerals.marked_ordinal)]


def _early_english_rules(vocabulary: Vocabulary) -> list[Rule]:
    english = _English(vocabulary.numbers)
    return [
        Rule(_ENGLISH_ORDINAL, english.ordinal),
        Rule(_DECADE, english.decade),
        Rule(_SHORT_YEAR, english.short_year),
        Rule(_FRACTION, english.fraction),
        Rule(_RATING, english.rating),
        Rule(_NAME_NUMBER, lambda match: code_number(vocabulary, match[0])),
        Rule(_FRACTION_SIGN, english.fraction_sign),
    ]


def _english_rules(vocabulary: Vocabulary) -> list[Rule]:
    english = _English(vocabulary.numbers)
    return [Rule(_YEARS, english.years), Rule(_YEAR, english.year), Rule(_LONG, english.code)]


class _Numerals:
    """In all languages."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._numbers = vocabulary.numbers

    def number(self, match: re.Match[str]) -> str:
        sign = match[0][0]
        spoken = self._numbers.number(match[0].lstrip("±"))
        if noun := _NOUN.match(match.string, match.end()):
            spoken = self._vocabulary.agree(spoken, noun[1])
        return f"{self._vocabulary.symbols[sign]} {spoken}" if sign in "+±" else spoken

    def range(self, match: re.Match[str]) -> WordByWord:
        first, last = self._numbers.number(match["first"]), self._numbers.number(match["last"])
        to = "" if first == last and match["joint"] != ":" else self._vocabulary.to
        return by_group(match, first=first, joint=to, last=last)

    def scientific(self, match: re.Match[str]) -> str:
        mantissa = self._numbers.number((match["minus"] or "") + match["mantissa"])
        exponent = self._numbers.number(match["exponent"])
        symbols = self._vocabulary.symbols
        return f"{mantissa} {symbols['×']} {self._numbers.cardinal(10)} {symbols['^']} {exponent}"

    def digits(self, match: re.Match[str]) -> str:
        in_ascii = "".join(str(unicodedata.digit(char)) for char in match[0])
        return _with_spaces(match, self._numbers.cardinal(in_ascii))

    def numeric_sign(self, match: re.Match[str]) -> str | None:
        value = unicodedata.numeric(match[0], None)
        if value is None:
            return None
        is_whole = value == int(value)
        spoken = (
            self._numbers.cardinal(int(value)) if is_whole else self._numbers.number(f"{round(value, 2):g}")
        )
        return _with_spaces(match, spoken)

    def marked_ordinal(self, match: re.Match[str]) -> str | None:
        if match["mark"] == "°" and match["number"] != "1":
            return None
        spoken = self._numbers.ordinal(int(match["number"]))
        ending = self._vocabulary.ordinals[match["mark"]]
        if spoken == "premier":
            return "première" if ending == "a" else spoken
        return spoken if ending == "o" else re.sub(r"o\b" if ending else r"o\Z", ending, spoken)


class _English:
    def __init__(self, numbers: NumberWords) -> None:
        self._numbers = numbers

    def rating(self, match: re.Match[str]) -> str:
        return f"{self._numbers.number(match['points'])} out of {self._numbers.number(match['maximum'])}"

    def ordinal(self, match: re.Match[str]) -> str | None:
        digits = match[1].replace(",", "")
        return self._numbers.ordinal(int(digits)) if len(digits) < 10 else None

    def decade(self, match: re.Match[str]) -> str | None:
        digits = match["decade"] or match["short"]
        tens = int(digits[-2])
        if len(digits) == 4 and tens == 0:
            return ("two thousand" if digits == "2000" else self._numbers.year(int(digits))) + "s"
        if tens not in _DECADES:
            return None
        century = f"{self._numbers.cardinal(int(digits[:2]))} " if len(digits) == 4 else ""
        return century + _DECADES[tens]

    def short_year(self, match: re.Match[str]) -> str:
        return ("oh " if match[1][0] == "0" else "") + self._numbers.cardinal(int(match[1]))

    def fraction(self, match: re.Match[str]) -> str | WordByWord | None:
        over, under = int(match["over"]), int(match["under"])
        spoken = self._fraction(over, under)
        if match["whole"] is None:
            return spoken
        if over >= under or under not in _FRACTION_DENOMINATORS:
            return None
        return [self._numbers.cardinal(match["whole"]), _after_whole(spoken, over)]

    def fraction_sign(self, match: re.Match[str]) -> str:
        over, _, under = unicodedata.normalize("NFKC", match["sign"]).partition("⁄")
        spoken = self._fraction(int(over), int(under))
        if match["whole"]:
            spoken = f"{self._numbers.cardinal(match['whole'])} {_after_whole(spoken, int(over))}"
        return f"minus {spoken}" if match["minus"] else spoken

    def _fraction(self, over: int, under: int) -> str:
        spoken_over, spoken_under = self._numbers.cardinal(over), self._numbers.cardinal(under)
        if under in _RATING_MAXIMA:
            return f"{spoken_over} out of {spoken_under}"
        if over >= under or under not in _FRACTION_DENOMINATORS:
            is_like_a_date = over <= 12 and 10 < under <= 31
            joint = " " if is_like_a_date or over == under else " over "
            return spoken_over + joint + spoken_under
        part = _FRACTIONS.get(under) or self._numbers.ordinal(under)
        return f"{spoken_over} {part}{'s' if over > 1 else ''}"

    def year(self, match: re.Match[str]) -> str | None:
        start, end = match.span()
        before = match.string[max(0, start - _MAX_CONTEXT) : start]
        if not _BEFORE_YEAR.search(before) and (
            _COUNTED_NOUN.match(match.string, end)
            or (match[1] < "1100" and not _ERA.match(match.string, end))
        ):
            return None
        if before.endswith(("-", "−", "+", "$")) or _BEFORE_CODE.search(before):
            return None
        return self._numbers.year(int(match[1]))

    def years(self, match: re.Match[str]) -> str:
        last = match["last"]
        spoken_last = self._numbers.year(int(last)) if len(last) == 4 else self._numbers.cardinal(last)
        return f"{self._numbers.year(int(match['first']))} to {spoken_last}"

    def code(self, match: re.Match[str]) -> str | None:
        """Digit by digit: a number behind a word like "code", or one that is too long for a quantity."""
        start = match.start()
        is_code = _BEFORE_CODE.search(match.string, max(0, start - _MAX_CONTEXT), start)
        is_long = len(match[0]) >= 7 and not match[0].endswith("000")
        return self._numbers.digits(match[0]) if is_code or is_long else None


def _after_whole(fraction: str, over: int) -> str:
    return "and " + (re.sub("^one ", "a ", fraction) if over == 1 else fraction)


def _with_spaces(match: re.Match[str], spoken: str) -> str:
    """With a space on each side on which a letter or digit stands beside the match."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return " " * before.isalnum() + spoken + " " * after.isalnum()


def code_number(vocabulary: Vocabulary, digits: str) -> str:
    """A number in a name or an address: in English three or four digits are spoken two by two."""
    numbers = vocabulary.numbers
    if not vocabulary.is_english or len(digits) < 3 or digits[0] == "0":
        return numbers.cardinal(digits)
    if len(digits) > 4:
        return numbers.digits(digits)
    head, tail = digits[:-2], digits[-2:]
    if tail == "00":
        is_thousands = head[-1] == "0" or len(head) == 1
        return numbers.cardinal(digits) if is_thousands else f"{numbers.cardinal(head)} hundred"
    spoken_tail = f"oh {numbers.cardinal(tail[1])}" if tail[0] == "0" else numbers.cardinal(tail)
    return f"{numbers.cardinal(head)} {spoken_tail}"
