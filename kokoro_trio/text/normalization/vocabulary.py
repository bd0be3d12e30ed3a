"""What the languages call what is not a letter, and how they put dates, times and money."""

import re
from collections.abc import Callable, Mapping

from attrs import field, frozen

from kokoro_trio.text.normalization.figures import LAKH_GROUPS, Figures

Clock = Callable[[Figures, int, int], str]
"""Hours and minutes as they are said."""


@frozen
class Vocabulary:
    """One language. Signs are spoken by `symbols`: inside words, between numbers, or alone."""

    code: str
    locale: str
    figures: Figures
    symbols: Mapping[str, str]
    to: str
    by: str
    """As in "two by four"."""
    per: str
    percent: str
    permille: str
    squared: str
    cubed: str
    number_sign: str
    version: str
    hashtag: str
    region: str
    """Whose telephone numbers are written without a country code."""
    say_date: Callable[[Figures, int, str, int], str]
    say_time: Clock
    and_seconds: str
    cents: Mapping[str, tuple[str, str]]
    """Currency → the name of its hundredth, singular and plural."""
    money_joint: str
    names_cents: bool
    spell: Callable[[str], str]
    abbreviations: Mapping[str, str]
    unit_spellings: Mapping[str, str] = field(factory=dict)
    """The language's own signs of units → those of `names.UNITS`."""
    scales: str = ""
    """A regular expression for the words that make an amount of money large."""
    spoken_names: Mapping[str, str] = field(factory=dict)
    """Parts of addresses and file names that are not words of the language."""
    of_amount: Callable[[str], str] = field(default=str)
    """What is counted in millions: "de dollars"."""
    number_marks: str = r"[Nn]\.?[º°]|№"
    """A regular expression for what is read as `number_sign` before a number."""
    ordinals: Mapping[str, str] = field(factory=dict)
    """The mark behind a number → what the ordinal ends in instead of the last "o" of its words."""
    agree: Callable[[str, str], str] = field(default=lambda number, noun: number)
    """The number before that noun: "un" for ("uno", "euro")."""
    clock_word: str = ""
    """A regular expression for what follows a time of day and is in `say_time` already."""
    is_month_first: bool = False
    is_english: bool = False


_ENGLISH_SYMBOLS = {
    "&": "and",
    "%": "percent",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "#": "hash",
    "~": "about",
    "/": "slash",
    "\\": "backslash",
    "*": "times",
    "^": "to the power of",
    "×": "times",
    "÷": "divided by",
    "−": "minus",
    "<": "less than",
    ">": "greater than",
    "≈": "approximately",
    "≠": "not equal to",
    "≤": "at most",
    "≥": "at least",
    "±": "plus or minus",
    "√": "square root of",
    "∞": "infinity",
    "→": "to",
    "←": "from",
    "⇒": "implies",
    "↔": "to and from",
    "©": "copyright",
    "§": "section",
    "°": "degrees",
    "‰": "per mille",
    "∑": "sum",
    "∈": "in",
    ".": "dot",
    "-": "dash",
    "_": "underscore",
    ":": "colon",
    "?": "question mark",
}


def spell_in_english(letters: str) -> str:
    """misaki reads "A.P.I" as letters, and as one word; in "A P I" the first would be the article."""
    if len(letters) == 1:
        return "A." if letters in "aA" else letters.upper()
    return ".".join(letters.upper())


def spell_in_capitals(letters: str) -> str:
    return " ".join(letters.upper())


def _american_date(figures: Figures, day: int, month: str, year: int) -> str:
    return f"{month} {figures.ordinal(day)}, {english_year(figures, year)}"


def _british_date(figures: Figures, day: int, month: str, year: int) -> str:
    return f"the {figures.ordinal(day)} of {month} {english_year(figures, year)}"


def english_year(figures: Figures, year: int) -> str:
    """num2words says "oh-five", and misaki would hear one word in it."""
    return re.sub("^(.*) oh-", r"\1 oh ", figures.year(year))


def _english_time(figures: Figures, hour: int, minute: int) -> str:
    spoken_hour = figures.cardinal(str(hour))
    if minute == 0:
        return f"{spoken_hour} o'clock" if 0 < hour <= 12 else f"{spoken_hour} hundred"
    oh = "oh " if minute < 10 else ""
    return f"{spoken_hour} {oh}{figures.cardinal(str(minute))}"


_ENGLISH_SPOKEN_NAMES = {
    "py": "pie",
    "io": "I.O",
    "js": "J.S",
    "ts": "T.S",
    "md": "M.D",
    "usr": "user",
    "etc": "etsy",
    "src": "source",
    "lib": "lib",
    "env": "E.N.V",
    "txt": "text",
    "http": "H.T.T.P",
    "www": "W.W.W",
    "html": "H.T.M.L",
    "ai": "A.I",
    "uk": "U.K",
    "gov": "gov",
    "edu": "E.D.U",
    "api": "A.P.I",
    "png": "P.N.G",
    "jpg": "jay peg",
    "pdf": "P.D.F",
    "csv": "C.S.V",
    "json": "jason",
    "yaml": "yammel",
    "exe": "E.X.E",
    "C": "C",
}
_ENGLISH_WRITTEN = r"(?:(?:\d{1,3}(?:,\d{2,3}){0,4},\d{3}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"

_ENGLISH_ABBREVIATIONS = {
    "Prof.": "Professor",
    "Jr.": "Junior",
    "Sr.": "Senior",
    "Gen.": "General",
    "Sgt.": "Sergeant",
    "Capt.": "Captain",
    "Lt.": "Lieutenant",
    "Col.": "Colonel",
    "Sen.": "Senator",
    "Rep.": "Representative",
    "Gov.": "Governor",
    "Pres.": "President",
    "Rev.": "Reverend",
    "Hon.": "Honorable",
    "Mt.": "Mount",
    "Ft.": "Fort",
    "Ave.": "Avenue",
    "Blvd.": "Boulevard",
    "Rd.": "Road",
    "Ln.": "Lane",
    "Hwy.": "Highway",
    "Apt.": "Apartment",
    "Inc.": "Incorporated",
    "Ltd.": "Limited",
    "Corp.": "Corporation",
    "Co.": "Company",
    "Bros.": "Brothers",
    "vs.": "versus",
    "vs": "versus",
    "c.": "circa",
    "p.": "page",
    "etc.": "etc.",
    "e.g.": "for example",
    "i.e.": "that is",
    "cf.": "compare",
    "al.": "al",
    "approx.": "approximately",
    "dept.": "department",
    "Dept.": "Department",
    "est.": "estimated",
    "Est.": "Established",
    "min.": "minimum",
    "max.": "maximum",
    "avg.": "average",
    "esp.": "especially",
    "incl.": "including",
    "excl.": "excluding",
    "govt.": "government",
    "misc.": "miscellaneous",
    "temp.": "temperature",
    "tel.": "telephone",
    "Tel.": "Telephone",
    "ext.": "extension",
    "Ext.": "Extension",
    "ref.": "reference",
    "ed.": "edition",
    "vol.": "volume",
    "Vol.": "Volume",
    "ch.": "chapter",
    "Ch.": "Chapter",
    "pp.": "pages",
    "Fig.": "Figure",
    "fig.": "figure",
    "Figs.": "Figures",
    "Eq.": "Equation",
    "Sec.": "Section",
    "Jan.": "January",
    "Feb.": "February",
    "Mar.": "March",
    "Apr.": "April",
    "Aug.": "August",
    "Sep.": "September",
    "Sept.": "September",
    "Oct.": "October",
    "Nov.": "November",
    "Dec.": "December",
    "Mon.": "Monday",
    "Tue.": "Tuesday",
    "Tues.": "Tuesday",
    "Wed.": "Wednesday",
    "Thu.": "Thursday",
    "Thur.": "Thursday",
    "Thurs.": "Thursday",
    "Fri.": "Friday",
    "Sat.": "Saturday",
    "Sun.": "Sunday",
    "Ph.D.": "P.H.D",
    "w/o": "without",
    "w/": "with",
    "b/c": "because",
    "24/7": "twenty-four seven",
    "9/11": "nine eleven",
    "AT&T": "A.T and T",
    "R&D": "R and D",
    "Q&A": "Q and A.",
    "Q&As": "Q and A's",
    "R&B": "R and B",
    "M&A": "M and A.",
    "P&L": "P and L",
    "B&B": "B and B",
    "I/O": "I.O",
    "A/B": "A.B",
    "n/a": "not applicable",
    "N/A": "not applicable",
    "A/C": "A.C",
    "TCP/IP": "T.C.P I.P",
    "CI/CD": "C.I C.D",
    "C++": "C plus plus",
    "C#": "C sharp",
    "F#": "F sharp",
    ".NET": "dot net",
    "Node.js": "Node J.S",
    "Next.js": "Next J.S",
    "Vue.js": "Vue J.S",
    "and/or": "and or",
    "a.k.a.": "also known as",
    "OAuth": "oh auth",
    "WWI": "World War One",
    "WWII": "World War Two",
    "WW2": "World War Two",
    "WW1": "World War One",
}


def _english(code: str) -> Vocabulary:
    is_american = code == "a"
    return Vocabulary(
        code=code,
        locale="en",
        figures=Figures(
            "en", ".", ",", _ENGLISH_WRITTEN, "point", "minus", LAKH_GROUPS, r",| and" if is_american else ","
        ),
        symbols=_ENGLISH_SYMBOLS,
        to="to",
        by="by",
        per="per",
        scales="thousand|million|billion|trillion",
        percent="percent",
        permille="per mille",
        squared="squared",
        cubed="cubed",
        number_sign="number",
        number_marks=r"[Nn]os?\.|№",
        version="version",
        hashtag="hashtag",
        region="US" if is_american else "GB",
        spoken_names=_ENGLISH_SPOKEN_NAMES,
        say_date=_american_date if is_american else _british_date,
        say_time=_english_time,
        and_seconds="and {} seconds",
        cents={
            "USD": ("cent", "cents"),
            "EUR": ("cent", "cents"),
            "GBP": ("penny", "pence"),
            "INR": ("paisa", "paise"),
            "CAD": ("cent", "cents"),
            "AUD": ("cent", "cents"),
            "NZD": ("cent", "cents"),
            "HKD": ("cent", "cents"),
            "SGD": ("cent", "cents"),
            "BRL": ("centavo", "centavos"),
            "MXN": ("centavo", "centavos"),
            "PHP": ("centavo", "centavos"),
            "ZAR": ("cent", "cents"),
        },
        money_joint="and",
        names_cents=True,
        spell=spell_in_english,
        abbreviations=_ENGLISH_ABBREVIATIONS,
        is_month_first=is_american,
        is_english=True,
    )


AMERICAN, BRITISH = _english("a"), _english("b")
