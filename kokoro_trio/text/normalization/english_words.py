"""English words that are not pronounced as they are written: letters, capitals, names and drawn-out words."""

import json
import re
from functools import cache, lru_cache
from importlib.resources import files
from itertools import groupby

from kokoro_trio.text.normalization.cldr import unit_name
from kokoro_trio.text.normalization.numerals import code_number
from kokoro_trio.text.normalization.roman import roman_value
from kokoro_trio.text.normalization.rules import (
    Normalize,
    Rule,
    Verbalization,
    WordByWord,
    by_group,
    ends_sentence,
)
from kokoro_trio.text.normalization.vocabulary import Vocabulary, spell_in_english

_SPELLED = """
ABC AC AD ADHD AI AMA AOL API AR ASL ASR ATM AWS BBC BC BCE BTW CD CDT CE CEO CFO CIA CLI CNN COO
CPU CRM CSS CST CTO DC DIY DJ DM DNA DNS DVD EDT EKG EOD ER ERP ESL EST ETA ETF EU EV FAQ FBI FL FTP
FYI GCP GMT GPS GPT GPU HDD HDMI HIV HR HTML HTTP HTTPS IBM ICU ID IDE IMF IO IOT IP IPO IRA IRS
ISBN IT KPI LA LAN LED LGBT LLM MBA MIT ML MLB MMS MPH MRI MST NBA NFL NHL NJ NLP NY NYC NYU OCD OCR
OOO OS PC PDF PDT PHD PM PR PSA PST PTO PTSD QA RNA ROI RPM RSVP SDK SEO SLA SMS SSD SSH SSL STT SUV
TBA TBD TCP TLS TPU TTS TV TX UAE UCLA UDP UI UK UN UPS URL US USA USB USPS UTC UX VIP VPN VR WAN
WTO XML
"""
SPELLED = frozenset(_SPELLED.split())
"""Spelled letter by letter although they look like words, or although a dictionary has such a word."""
_ALSO_WORDS = ("US", "IT")
_ACRONYMS = {
    "ASCII": "askey",
    "CUDA": "cooda",
    "GUI": "gooey",
    "IEEE": "I triple E",
    "JSON": "jason",
    "OK": "okay",
    "SQL": "sequel",
    "WIFI": "wifi",
    "YAML": "yammel",
}
"""Abbreviations that are pronounced as words."""
_NAMES_OF_KINGS = (
    "Henry|Louis|Charles|George|Edward|William|Richard|James|Elizabeth|Mary|Philip|John|Paul|Pius|Benedict|Francis|"
    "Frederick|Alexander|Nicholas|Napoleon|Leo|Gregory|Clement|Innocent|Urban|Ramses|Ramesses|Ptolemy|Catherine|"
    "Ivan|Peter|Felipe|Juan|Carlos|Leopold|Gustav|Christian|Harald|Olaf|Otto|Pope|Sixtus|Boniface|Margaret"
)
_NUMBERED_THINGS = (
    r"Chapter|Part|Act|Scene|Volume|Vol\.|Book|Section|Appendix|Phase|Type|Article|Title|Class|Level|Stage|Grade|"
    r"Episode|Season|Super\ Bowl|World\ War|Figure|Table|Step|Unit|Division|Group|Tier|Schedule|Exhibit|"
    r"Annex|Round|Mark"
)
_ENDS = r"(?![\w&])"
_NUMBERED_THING = re.compile(rf"\b(?:{_NUMBERED_THINGS})s?\s+(?P<numeral>[IVX]|[IVXLC]{{2,}}){_ENDS}")
_NUMBERED_NAME = re.compile(
    rf"\b[A-Z][a-z]+\s+(?P<numeral>I{{2,3}}|IV|VI{{1,3}}|IX|XI{{1,3}}|XIV|XVI{{0,3}}){_ENDS}"
)
_KING = re.compile(rf"\b(?:{_NAMES_OF_KINGS})\s+(?P<numeral>[IVX]+)(?P<possessive>['’]s)?{_ENDS}")
_WEEKDAY = re.compile(r"\b(?:Tue|Wed|Thu|Fri)\b(?=,)|\b(?:Mon|Sat|Sun)\b(?=,\s(?:[A-Z][a-z]{2}\b|\d))")
_WEEKDAY_NAMES = "Mon|Tues|Tue|Wed|Thurs|Thu|Fri|Sat|Sun"
_WEEKDAYS = re.compile(rf"\b(?P<first>{_WEEKDAY_NAMES})\s?(?P<to>[-–])\s?(?P<last>{_WEEKDAY_NAMES})\b")
_PERIODS = {"min": "min", "sec": "s", "hr": "h"}
_PERIOD = re.compile(r"(?<=\bper )(?:min|sec|hr)\b")
_NOT_THE_SHORTEST = {"soo": "so", "noo": "no", "brr": "burr", "grr": "gurr", "shh": "shush", "zz": "zees"}
"""Dictionary words that a drawn-out word shortens to → the word that is meant."""
_LETTERED = re.compile(r"(?<![\w.])(?P<letters>[A-Z]{2,5})(?P<ending>s|['’]s)?(?![\w&])(?!\.\w)")
_CAPITALS = re.compile(r"(?<![\w.])[A-Z]{6,}(?:['’]?S)?(?![\w&])")
_DOTTED = re.compile(
    r"""(?<![\w.])(?:[A-Za-z]\.){2,}(?=(\s*\Z|["'”’)\]]*\s*\Z))?
    | (?<![\w.])(?:[A-Z]\.)+[A-Z](?!\w)""",
    re.VERBOSE,
)
_LAST_LETTER = re.compile(r"(?<=\s)([A-HJ-Z])\.(?=[\"'”’)\]]*\s*\Z)")
_LETTER_A = re.compile(
    r"""(?<![\w.'’])
    (?: A (?= \s(?:and|or|to|vs)\s[A-Z]\b | [,;:!?)] | \s?\Z )
    | [Aa] (?= \s[→=+×÷<>≤≥≈] ) )
    | (?<=[=+×÷<>≤≥≈]\s) a\b""",
    re.VERBOSE,
)
_DRAWN_OUT = re.compile(r"(?<![\w@#/])(?=\w*?([^\W\d_])\1\1)[^\W\d_]{3,60}(?!\w)", re.I)
_LETTERS_AND_DIGITS = re.compile(
    r"""(?<![\w'’])
    (?: (?=[^\W_]*\d) (?=[\d\-]{0,60}[^\W\d_]) [^\W_]+ (?: -[^\W_]+ | (?<=\d)\.\d+ )*
    | [^\W\d_]+-\d[\w\-]* (?: \.\d[\w\-]* )*
    | [A-Z]\.\d[\w\-]* )""",
    re.VERBOSE,
)
_RUN = re.compile(r"\d+(?:\.\d+)?|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]")
_WORD_OF_CAPITALS = re.compile(r"(?<![\w'’])[A-Z]+(?:['’][A-Z]+)*(?![\w'’])")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_STREET_OR_TITLE = re.compile(r"(?<!\w)(St|Dr)\.(?!\w)")
_CAPITALISED_BEFORE = re.compile(r"(?:(?P<number>\d+\w*)\s+)?(?P<word>[A-Z][\w'’.]*|\d+(?:st|nd|rd|th))\s+\Z")
_CAPITALISED_AFTER = re.compile(r"(?<!\s)\s+[A-Z]")
_ENDS_IN_LETTER = re.compile(r"(?:\A|[\s.])[A-Z]\.?\Z")
_ONLY_A_STOP = re.compile(r"\.[\"'”’)\]]*\s*\Z")
_PRONOUN_AFTER = re.compile(r"(?<!\s)\s+(?!(?:of|was|is|and|the|in|to|or|had|died|ruled|reigned)\b)[a-z]")
_MAX_CONTEXT = 40
_MAX_CANDIDATES = 64


def weekday_rules(vocabulary: Vocabulary) -> list[Rule]:
    def spoken(short: str) -> str:
        return vocabulary.abbreviations[f"{short}."]

    return [
        Rule(_PERIOD, lambda match: unit_name(_PERIODS[match[0]], 1, "en")),
        Rule(
            _WEEKDAYS,
            lambda days: by_group(days, first=spoken(days["first"]), to="to", last=spoken(days["last"])),
        ),
        Rule(_WEEKDAY, lambda match: spoken(match[0])),
    ]


def name_rules(vocabulary: Vocabulary) -> list[Rule]:
    numbers = vocabulary.numbers

    def numbered(match: re.Match[str]) -> WordByWord | None:
        number = roman_value(match["numeral"])
        if number is None or _is_pronoun(match):
            return None
        return by_group(match, numeral=numbers.cardinal(number))

    def king(match: re.Match[str]) -> WordByWord | None:
        number = roman_value(match["numeral"])
        if number is None or _is_pronoun(match):
            return None
        return by_group(match, numeral=f"the {numbers.ordinal(number)}{match['possessive'] or ''}")

    return [
        Rule(_STREET_OR_TITLE, _street_or_title),
        Rule(_NUMBERED_THING, numbered),
        Rule(_KING, king),
        Rule(_NUMBERED_NAME, numbered),
    ]


def code_rules(vocabulary: Vocabulary, normalize: Normalize) -> list[Rule]:
    """Words of letters and digits: "GPT-4", "MP3s"."""

    def part(run: str) -> str:
        if run.isdecimal():
            return code_number(vocabulary, run)
        is_short = len(run) == 1 or (len(run) <= 3 and run.isupper())
        if run.isalpha() and (is_short or run in SPELLED or _is_unpronounceable(run)):
            return spell_in_english(run)
        return normalize(run)

    def verbalize(match: re.Match[str]) -> str:
        runs = _RUN.findall(match[0])
        if len(runs) > 1 and runs[-1] == "s" and runs[-2].isdecimal():
            return " ".join(map(part, runs[:-1])) + "'s"
        if len(runs) > 4 and "-" not in match[0]:
            # A serial number: only numbers of one or two digits stay whole.
            runs = [piece for run in runs for piece in ([run] if run.isdecimal() and len(run) < 3 else run)]
        return " ".join(map(part, runs))

    return [Rule(_LETTERS_AND_DIGITS, verbalize)]


def word_rules() -> list[Rule]:
    return [
        Rule(_DOTTED, _dotted),
        Rule(_WORD_OF_CAPITALS, _shouted),
        Rule(_LETTERED, _lettered),
        Rule(_CAPITALS, _capitals),
        Rule(_LETTER_A, lambda match: "A."),
        Rule(_LAST_LETTER, lambda match: f"{match[1]} ."),
        Rule(_DRAWN_OUT, _drawn_out),
    ]


def with_full_stop(last: Verbalization, text: str) -> Verbalization:
    """Puts a space before the stop behind a letter, which misaki would take for a part of the letter."""
    if _ENDS_IN_LETTER.search(last.spoken) and _ONLY_A_STOP.match(text, last.end_char):
        return Verbalization(last.start_char, last.end_char + 1, f"{last.spoken} .")
    return last


@cache
def dictionary() -> frozenset[str]:
    """The words that misaki can pronounce."""
    known = json.loads(files("misaki.data").joinpath("us_gold.json").read_text(encoding="utf-8"))
    return frozenset(word for word in known if len(word) > 1)


def _street_or_title(match: re.Match[str]) -> str:
    title, street = {"St": ("Saint", "Street"), "Dr": ("Doctor", "Drive")}[match[1]]
    start, end = match.span()
    before = _CAPITALISED_BEFORE.search(match.string[max(0, start - _MAX_CONTEXT) : start])
    is_name_after = _CAPITALISED_AFTER.match(match.string, end)
    if before and (before["number"] or before["word"][0].isdecimal() or not is_name_after):
        return street + "." if ends_sentence(match) else street
    return title


def _is_pronoun(match: re.Match[str]) -> bool:
    """True in "Mary I think", false in "Mary I of England"."""
    return match["numeral"] == "I" and bool(_PRONOUN_AFTER.match(match.string, match.end()))


def _dotted(match: re.Match[str]) -> str:
    spoken = spell_in_english(match[0].replace(".", ""))
    return f"{spoken} ." if match[0].endswith(".") and ends_sentence(match) else spoken


def _shouted(match: re.Match[str]) -> str | None:
    """In a sentence in capitals, capitals do not mark an abbreviation."""
    word = match[0]
    if not _is_shouted(match.string) or (word in SPELLED and word not in _ALSO_WORDS):
        return None
    if word == "I" or word.startswith(("I'", "I’")):
        return None
    lowered = word.lower()
    is_word = lowered.replace("’", "'") in dictionary() or "'" in word or len(word) > 5
    return lowered if is_word or lowered == "a" else None


@lru_cache(maxsize=64)
def _is_shouted(text: str) -> bool:
    words = [word for word in _WORD.findall(text) if len(word) > 1 or word in "IA"]
    in_capitals = [word for word in words if word.isupper()]
    longest = max((len(word) for word in in_capitals if word not in SPELLED), default=0)
    return len(in_capitals) > 0.7 * len(words) and longest > 3 and len(words) > 1


def _lettered(match: re.Match[str]) -> str | None:
    letters, ending = match["letters"], match["ending"]
    if letters in _ACRONYMS:
        return _ACRONYMS[letters] + (ending or "")
    if letters not in SPELLED and not dictionary().isdisjoint((letters, letters.lower())):
        return None
    return spell_in_english(letters) + ("'s" if ending else "")


def _capitals(match: re.Match[str]) -> str | None:
    word = match[0]
    if word in dictionary():
        return None
    if _is_unpronounceable(word):
        return spell_in_english(word)
    return word.lower() if word.lower() in dictionary() else word.capitalize()


def _is_unpronounceable(word: str) -> bool:
    return not re.search("[aeiouyAEIOUYÀ-ÿ]", word)


def _drawn_out(match: re.Match[str]) -> str | None:
    word = match[0]
    is_spelled = word.lower() in ("www", "xxx", "aaa", "xxl") or set(word) <= set("IVXLCDM")
    return _shortened(word) if word.isalpha() and not is_spelled else None


def _shortened(word: str) -> str:
    """The dictionary word that "sooooo" draws out: runs of a letter become two letters or one."""
    candidates = [""]
    for letter, run in groupby(word.lower()):
        count = len(list(run))
        lengths = (2, 1) if count > 2 else (count,)
        candidates = [start + letter * n for start in candidates for n in lengths][:_MAX_CANDIDATES]
    spoken = next((candidate for candidate in candidates if candidate in dictionary()), candidates[-1])
    spoken = _NOT_THE_SHORTEST.get(spoken, spoken)
    return spoken.capitalize() if word[0].isupper() else spoken
