"""Bare numbers: cardinals, ordinals, ranges, fractions, years, and figures that are told one by one."""

import re
import unicodedata

from kokoro_trio.text.normalization.scan import Kind, WordByWord, along
from kokoro_trio.text.normalization.vocabulary import Vocabulary

NOT_IN_WORD = r"(?<![^\W_])(?<![^\W_][.,])"
ENDS = r"(?![^\W_]|[.,]\d)"
_FRACTIONS = {2: "half", 4: "quarter"}
_FRACTION_DENOMINATORS = frozenset((2, 3, 4, 5, 6, 7, 8, 9, 16, 32, 64))
_OF_POINTS = frozenset((10, 100))
_COUNTED = re.compile(r"\s(?!(?:was|is|has|this|its|as|us|vs)\b)[a-z]{3,}s\b(?!')")
_DATING = re.compile(
    r"\b(?:in|since|from|by|until|till|of|year|before|after|during|circa|late|early|mid)\W+\Z", re.I
)
_ERA = re.compile(r"\s(?:AD|BC|CE|BCE)\b")
_TOLD = re.compile(
    r"\b(?:code|pin|id|zip|order|account|acct|ticket|tracking|confirmation|reference|extension|ext|serial|passcode|"
    r"password|[A-Z]{2})\W{1,3}(?:(?:number|is|no|code)\W{1,2})?\Z",
)
_NAMED_BY_NUMBERS = "Boeing Airbus Xbox RTX GTX Room room Flight flight Route Highway Suite HTTP error status"
_NAMED_BY_NUMBER = re.compile(
    "|".join(rf"(?<=\b{name} )\d{{3,4}}(?!\w|[.,:%]\d|%)" for name in _NAMED_BY_NUMBERS.split())
)
_NOUN = re.compile(r"\s(?!(?:para|como|cada|contra|hasta|della|dalla|nella|alla|fora)\b)([^\W\d_]{3,})\b")
_DECADES = {20: "twenties", 30: "thirties", 40: "forties", 50: "fifties", 60: "sixties"} | {
    70: "seventies",
    80: "eighties",
    90: "nineties",
}
_MAX_CONTEXT = 30
# Superscripts, subscripts, fractions, Roman numerals and what stands in circles.
_SIGNS = re.compile(
    "[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u218b\u2460-\u24ff\u2776-\u2793]"
)


def kinds(vocabulary: Vocabulary) -> list[Kind]:
    readers = _Readers(vocabulary)
    number = vocabulary.figures.written
    shared = [
        Kind(re.compile(rf"{NOT_IN_WORD}({number})\s?([–—])\s?({number}){ENDS}"), readers.range),
        Kind(re.compile(rf"{NOT_IN_WORD}({number})(-)({number}){ENDS}(?!-)"), readers.range),
        Kind(re.compile(rf"(?<![\w)])(?<![\w)][.,])[+\-−±]?{number}{ENDS}"), readers.number),
    ]
    return (_english_kinds(readers) + shared) if vocabulary.is_english else shared


def early_kinds(vocabulary: Vocabulary) -> list[Kind]:
    """What looks like the beginning of something else."""
    readers = _Readers(vocabulary)
    number = vocabulary.figures.written
    ratio = Kind(re.compile(rf"{NOT_IN_WORD}({number})(:)({number}){ENDS}(?!:)"), readers.range)
    scientific = re.compile(rf"{NOT_IN_WORD}(-|−)?(\d+(?:\.\d+)?)[eE]([+\-−]?\d+){ENDS}")
    english = _early_english_kinds(readers) if vocabulary.is_english else []
    return [Kind(scientific, readers.scientific), *english, ratio, *_marked_ordinals(readers, vocabulary)]


def leftovers(vocabulary: Vocabulary) -> list[Kind]:
    """Figures in whatever else is in the text, so that no later hand has to know them."""
    readers = _Readers(vocabulary)
    return [Kind(_SIGNS, readers.sign), Kind(re.compile(r"\d+"), readers.figures)]


def _marked_ordinals(readers: "_Readers", vocabulary: Vocabulary) -> list[Kind]:
    if not vocabulary.ordinals:
        return []
    marks = "|".join(sorted(vocabulary.ordinals, key=len, reverse=True))
    return [Kind(re.compile(rf"{NOT_IN_WORD}(\d{{1,6}})\.?({marks})(?!\w)"), readers.marked_ordinal)]


def _early_english_kinds(readers: "_Readers") -> list[Kind]:
    return [
        Kind(re.compile(rf"{NOT_IN_WORD}(\d[\d,]*)(st|nd|rd|th)\b", re.I), readers.ordinal),
        Kind(
            re.compile(
                r"(?<!\w)(?:((?:(?<=\bthe )|(?<=\bmid-)|(?<=early )|(?<=late ))\d0|\d{3}0)['’]?s"
                r"|['‘’](\d0)s)\b"
            ),
            readers.decade,
        ),
        Kind(re.compile(r"(?<!\w)['‘’](\d\d)\b"), readers.short_year),
        Kind(
            re.compile(
                rf"{NOT_IN_WORD}(?:(\d{{1,3}})\s)?(\d{{1,3}})[/⁄](\d{{1,3}})(?:rds|ths|rd|th)?(?![\w/])"
            ),
            readers.fraction,
        ),
        Kind(re.compile(rf"{NOT_IN_WORD}(\d+\.\d+)/(5|10|100){ENDS}"), readers.rating),
        Kind(_NAMED_BY_NUMBER, readers.name),
        Kind(re.compile(r"(?<!\d)(-|−)?(\d+)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"), readers.fraction_sign),
    ]


def _english_kinds(readers: "_Readers") -> list[Kind]:
    return [
        Kind(
            re.compile(rf"{NOT_IN_WORD}(1[1-9]\d\d|20\d\d)[-–](1[1-9]\d\d|20\d\d|\d\d){ENDS}"), readers.years
        ),
        Kind(re.compile(rf"{NOT_IN_WORD}(1\d\d\d|20\d\d){ENDS}"), readers.year),
        Kind(re.compile(rf"{NOT_IN_WORD}\d{{4,}}{ENDS}"), readers.told),
    ]


class _Readers:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._figures = vocabulary.figures

    def number(self, match: re.Match[str]) -> str:
        sign, written = match[0][:1], match[0].lstrip("+-−±")
        named = {"+": "+", "±": "±"}.get(sign)
        spoken = self._figures.number(("-" if sign in "-−" else "") + written)
        noun = _NOUN.match(match.string, match.end())
        if noun:
            spoken = self._vocabulary.agree(spoken, noun[1])
        return f"{self._vocabulary.symbols[named]} {spoken}" if named else spoken

    def range(self, match: re.Match[str]) -> WordByWord:
        start, end = self._figures.number(match[1]), self._figures.number(match[3])
        to = "" if start == end and match[2] != ":" else self._vocabulary.to
        return along(match, (1, start), (2, to), (3, end))

    def scientific(self, match: re.Match[str]) -> str:
        mantissa = self._figures.number((match[1] or "") + match[2])
        exponent = self._figures.number(match[3])
        symbols = self._vocabulary.symbols
        return f"{mantissa} {symbols['×']} {self._figures.cardinal('10')} {symbols['^']} {exponent}"

    def figures(self, match: re.Match[str]) -> str:
        ascii_digits = "".join(str(unicodedata.digit(char)) for char in match[0])
        return " " * _joins(match, -1) + self._figures.cardinal(ascii_digits) + " " * _joins(match, 1)

    def rating(self, match: re.Match[str]) -> str:
        return f"{self._figures.number(match[1])} out of {self._figures.number(match[2])}"

    def name(self, match: re.Match[str]) -> str:
        return code_number(self._vocabulary, match[0])

    def sign(self, match: re.Match[str]) -> str | None:
        value = unicodedata.numeric(match[0], None)
        if value is None:
            return None
        spoken = (
            self._figures.cardinal(str(int(value)))
            if value == int(value)
            else self._figures.number(f"{round(value, 2):g}")
        )
        return " " * _joins(match, -1) + spoken + " " * _joins(match, 1)

    def ordinal(self, match: re.Match[str]) -> str | None:
        digits = match[1].replace(",", "")
        return self._figures.ordinal(int(digits)) if len(digits) < 10 else None

    def marked_ordinal(self, match: re.Match[str]) -> str | None:
        if match[2] == "°" and match[1] != "1":
            return None
        spoken = self._figures.ordinal(int(match[1]))
        ending = self._vocabulary.ordinals[match[2]]
        if spoken == "premier":
            return "première" if ending == "a" else spoken
        return spoken if ending == "o" else re.sub(r"o\b" if ending else r"o\Z", ending, spoken)

    def decade(self, match: re.Match[str]) -> str | None:
        digits = match[1] or match[2]
        tens = int(digits[-2:])
        if len(digits) == 4 and tens == 0:
            century = "two thousand" if digits == "2000" else self._figures.year(int(digits))
            return century + "s"
        if tens not in _DECADES:
            return None
        century = self._figures.cardinal(str(int(digits[:2]))) + " " if len(digits) == 4 else ""
        return century + _DECADES[tens]

    def short_year(self, match: re.Match[str]) -> str:
        return ("oh " if match[1][0] == "0" else "") + self._figures.cardinal(str(int(match[1])))

    def fraction(self, match: re.Match[str]) -> str | list[str] | None:
        over, under = int(match[2]), int(match[3])
        spoken = self._fraction(over, under)
        if match[1] is None:
            return spoken
        if over >= under or under not in _FRACTION_DENOMINATORS:
            return None
        return [self._figures.cardinal(match[1]), _after_whole(spoken, over)]

    def fraction_sign(self, match: re.Match[str]) -> str:
        over, _, under = unicodedata.normalize("NFKC", match[3]).partition("⁄")
        spoken = self._fraction(int(over), int(under))
        sign = "minus " if match[1] else ""
        return sign + (
            f"{self._figures.cardinal(match[2])} {_after_whole(spoken, int(over))}" if match[2] else spoken
        )

    def _fraction(self, over: int, under: int) -> str:
        spoken_over = self._figures.cardinal(str(over))
        if under in _OF_POINTS:
            return f"{spoken_over} out of {self._figures.cardinal(str(under))}"
        if over >= under or under not in _FRACTION_DENOMINATORS:
            is_like_a_date = over <= 12 and 10 < under <= 31
            joint = " " if is_like_a_date or over == under else " over "
            return spoken_over + joint + self._figures.cardinal(str(under))
        part = _FRACTIONS.get(under) or self._figures.ordinal(under)
        return f"{spoken_over} {part}{'s' if over > 1 else ''}"

    def year(self, match: re.Match[str]) -> str | None:
        start, end = match.span()
        before = match.string[max(0, start - _MAX_CONTEXT) : start]
        counts = _COUNTED.match(match.string, end) and not _DATING.search(before)
        is_remote = match[1] < "1100" and not _DATING.search(before) and not _ERA.match(match.string, end)
        if counts or is_remote or before.endswith(("-", "−", "+", "$")) or _TOLD.search(before):
            return None
        return self._figures.year(int(match[1]))

    def years(self, match: re.Match[str]) -> str:
        end = match[2] if len(match[2]) == 4 else match[1][:2] + match[2]
        last = self._figures.year(int(end)) if len(match[2]) == 4 else self._figures.cardinal(match[2])
        return f"{self._figures.year(int(match[1]))} to {last}"

    def told(self, match: re.Match[str]) -> str | None:
        """Numbers that name something: after a word that says so, or too long to be counted."""
        start = match.start()
        is_named = _TOLD.search(match.string, max(0, start - _MAX_CONTEXT), start)
        is_long = len(match[0]) >= 7 and not match[0].endswith("000")
        return self._figures.digits(match[0]) if is_named or is_long else None


def _after_whole(fraction: str, over: int) -> str:
    return "and " + (re.sub("^one ", "a ", fraction) if over == 1 else fraction)


def _joins(match: re.Match[str], side: int) -> bool:
    """Whether a letter stands beside it."""
    neighbour = (
        match.string[match.start() - 1 : match.start()] if side < 0 else match.string[match.end() :][:1]
    )
    return neighbour.isalnum()


def code_number(vocabulary: Vocabulary, digits: str) -> str:
    """As in names and addresses: three figures or four are told two by two."""
    figures = vocabulary.figures
    if not vocabulary.is_english or len(digits) < 3 or digits[0] == "0":
        return figures.cardinal(digits)
    if len(digits) > 4:
        return figures.digits(digits)
    head, tail = digits[:-2], digits[-2:]
    if tail == "00":
        return (
            figures.cardinal(digits)
            if head[-1] == "0" or len(head) == 1
            else f"{figures.cardinal(head)} hundred"
        )
    spoken_tail = f"oh {figures.cardinal(tail[1])}" if tail[0] == "0" else figures.cardinal(tail)
    return f"{figures.cardinal(head)} {spoken_tail}"
