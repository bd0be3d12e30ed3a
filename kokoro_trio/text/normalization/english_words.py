"""English words that are not read as they are written: abbreviations, letters, capitals, drawn-out words."""

import json
import re
from functools import lru_cache
from importlib.resources import files
from itertools import groupby

from kokoro_trio.text.normalization.names import unit_name
from kokoro_trio.text.normalization.numerals import code_number
from kokoro_trio.text.normalization.roman import roman
from kokoro_trio.text.normalization.scan import Kind, Reading, Speak, WordByWord, along
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
"""Read letter by letter although they look like words, or although a dictionary has a word for them."""
_ALSO_WORDS = ("US", "IT")
SAID = {"SQL": "sequel", "YAML": "yammel", "CUDA": "cooda", "GUI": "gooey", "OK": "okay", "WIFI": "wifi"} | {
    "ASCII": "askey",
    "IEEE": "I triple E",
    "JSON": "jason",
}
"""Abbreviations that are words."""
_NAMES_OF_KINGS = (
    "Henry|Louis|Charles|George|Edward|William|Richard|James|Elizabeth|Mary|Philip|John|Paul|Pius|Benedict|Francis|"
    "Frederick|Alexander|Nicholas|Napoleon|Leo|Gregory|Clement|Innocent|Urban|Ramses|Ramesses|Ptolemy|Catherine|"
    "Ivan|Peter|Felipe|Juan|Carlos|Leopold|Gustav|Christian|Harald|Olaf|Otto|Pope|Sixtus|Boniface|Margaret"
)
_NUMBERED = (
    "Chapter|Part|Act|Scene|Volume|Vol\\.|Book|Section|Appendix|Phase|Type|Article|Title|Class|Level|Stage|Grade|"
    "Episode|Season|Super Bowl|World War|Figure|Table|Step|Unit|Division|Group|Tier|Schedule|Exhibit|Annex|"
    "Round|Mark"
)
_ONLY_IN_CONTEXT = {
    "min.": r"(?<!\d )min\.",
    "Sun.": r"Sun\.(?=,|\s\d|\s(?:at|from|and|to)\b)",
    "c.": r"c\.(?=\s?\d{3,4}\b)",
    "p.": r"p\.(?=\s?\d)",
}
"""Abbreviations that are words as well → when they are none."""
_WEEKDAY = re.compile(r"\b(?:Tue|Wed|Thu|Fri)\b(?=,)|\b(?:Mon|Sat|Sun)\b(?=,\s(?:[A-Z][a-z]{2}\b|\d))")
_WEEKDAYS = "Mon|Tues|Tue|Wed|Thurs|Thu|Fri|Sat|Sun"
_PERIODS = {"min": "min", "sec": "s", "hr": "h"}
_PERIOD = re.compile(r"(?<=\bper )(?:min|sec|hr)\b")
_RATHER = {"soo": "so", "noo": "no", "brr": "burr", "grr": "gurr", "shh": "shush", "zz": "zees"}
"""What the dictionary would have "sooo", "nooo" and "brrr" shortened to is not what is meant."""
_LETTERED = re.compile(r"(?<![\w.])([A-Z]{2,5})(s|['’]s)?(?![\w&])(?!\.\w)")
_CAPITALS = re.compile(r"(?<![\w.])[A-Z]{6,}(?:['’]?S)?(?![\w&])")
_DOTTED = re.compile(
    r"(?<![\w.])(?:[A-Za-z]\.){2,}(?=(\s*\Z|[\"'”’)\]]*\s*\Z))?|(?<![\w.])(?:[A-Z]\.)+[A-Z](?!\w)"
)
_LAST_LETTER = re.compile(r"(?<=\s)([A-HJ-Z])\.(?=[\"'”’)\]]*\s*\Z)")
_LETTER_A = re.compile(
    r"(?<![\w.'’])(?:A(?=\s(?:and|or|to|vs)\s[A-Z]\b|[,;:!?)]|\s?\Z)|[Aa](?=\s[→=+×÷<>≤≥≈]))"
    r"|(?<=[=+×÷<>≤≥≈]\s)a\b"
)
_DRAWN_OUT = re.compile(r"(?<![\w@#/])(?=\w*?([^\W\d_])\1\1)[^\W\d_]{3,60}(?!\w)", re.I)
_MIXED = re.compile(
    r"(?<![\w'’])(?:(?=[^\W_]*\d)(?=[\d\-]{0,60}[^\W\d_])[^\W_]+(?:-[^\W_]+|(?<=\d)\.\d+)*"
    r"|[^\W\d_]+-\d[\w\-]*(?:\.\d[\w\-]*)*|[A-Z]\.\d[\w\-]*)"
)
_RUNS = re.compile(r"\d+(?:\.\d+)?|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]")
_WORD_OF_CAPITALS = re.compile(r"(?<![\w'’])[A-Z]+(?:['’][A-Z]+)*(?![\w'’])")
_ANY_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_STREET = re.compile(r"(?<!\w)(St|Dr)\.(?!\w)")
_CAPITALISED_BEFORE = re.compile(r"(?:(\d+\w*)\s+)?([A-Z][\w'’.]*|\d+(?:st|nd|rd|th))\s+\Z")
_CAPITALISED_AFTER = re.compile(r"(?<!\s)\s+[A-Z]")
_ENDS_IN_LETTER = re.compile(r"(?:\A|[\s.])[A-Z]\.?\Z")
_ONLY_A_STOP = re.compile(r"\.[\"'”’)\]]*\s*\Z")
_PRONOUN_AFTER = re.compile(r"(?<!\s)\s+(?!(?:of|was|is|and|the|in|to|or|had|died|ruled|reigned)\b)[a-z]")
_MAX_CONTEXT = 40


def early_kinds(vocabulary: Vocabulary) -> list[Kind]:
    words = _Words(vocabulary, str)
    ends = r"(?![\w&])"
    by_length = sorted(vocabulary.abbreviations, key=len, reverse=True)
    written = "|".join(_ONLY_IN_CONTEXT.get(short, re.escape(short)) for short in by_length)
    return [
        Kind(_PERIOD, lambda match: unit_name(_PERIODS[match[0]], 1, "en")),
        Kind(re.compile(rf"\b({_WEEKDAYS})\s?([-–])\s?({_WEEKDAYS})\b"), words.weekdays),
        Kind(_WEEKDAY, words.weekday),
        Kind(re.compile(rf"(?<![\w.&/])(?:{written})(?![^\W_]|[&/]\w|\.[a-z])"), words.abbreviation),
        Kind(_STREET, words.saint_or_street),
        Kind(re.compile(rf"\b((?:{_NUMBERED})s?)\s+([IVX]|[IVXLC]{{2,}}){ends}"), words.numbered),
        Kind(re.compile(rf"\b({_NAMES_OF_KINGS})\s+([IVX]+)(['’]s)?{ends}"), words.king),
        Kind(
            re.compile(rf"\b([A-Z][a-z]+)\s+(I{{2,3}}|IV|VI{{1,3}}|IX|XI{{1,3}}|XIV|XVI{{0,3}}){ends}"),
            words.numbered,
        ),
    ]


def mixed_kinds(vocabulary: Vocabulary, speak: Speak) -> list[Kind]:
    return [Kind(_MIXED, _Words(vocabulary, speak).mixed)]


def kinds(vocabulary: Vocabulary, speak: Speak) -> list[Kind]:
    words = _Words(vocabulary, speak)
    return [
        Kind(_DOTTED, words.dotted),
        Kind(_WORD_OF_CAPITALS, words.shouted),
        Kind(_LETTERED, words.lettered),
        Kind(_CAPITALS, words.capitals),
        Kind(_LETTER_A, lambda match: "A."),
        Kind(_LAST_LETTER, lambda match: f"{match[1]} ."),
        Kind(_DRAWN_OUT, words.drawn_out),
    ]


class _Words:
    def __init__(self, vocabulary: Vocabulary, speak: Speak) -> None:
        self._vocabulary = vocabulary
        self._speak = speak

    def abbreviation(self, match: re.Match[str]) -> str:
        spoken = self._vocabulary.abbreviations[match[0]]
        if spoken.endswith("."):
            return f"{spoken} ." if _ends_sentence(match) else spoken
        return spoken + "." if match[0].endswith(".") and _ends_sentence(match) else spoken

    def weekday(self, match: re.Match[str]) -> str:
        return self._weekday(match[0])

    def weekdays(self, match: re.Match[str]) -> WordByWord:
        return along(match, (1, self._weekday(match[1])), (2, "to"), (3, self._weekday(match[3])))

    def _weekday(self, short: str) -> str:
        return self._vocabulary.abbreviations[f"{short}."]

    def saint_or_street(self, match: re.Match[str]) -> str:
        title, way = {"St": ("Saint", "Street"), "Dr": ("Doctor", "Drive")}[match[1]]
        start, end = match.span()
        before = _CAPITALISED_BEFORE.search(match.string[max(0, start - _MAX_CONTEXT) : start])
        is_name_after = _CAPITALISED_AFTER.match(match.string, end)
        is_way = before and (before[1] or before[2][0].isdecimal() or not is_name_after)
        if not is_way:
            return title
        return way + "." if _ends_sentence(match) else way

    def numbered(self, match: re.Match[str]) -> WordByWord | None:
        number = roman(match[2])
        if number is None or _is_pronoun(match):
            return None
        return [None] * (len(match[1].split())) + [self._vocabulary.figures.cardinal(str(number))]

    def king(self, match: re.Match[str]) -> WordByWord | None:
        number = roman(match[2])
        if number is None or _is_pronoun(match):
            return None
        return along(match, (2, f"the {self._vocabulary.figures.ordinal(number)}{match[3] or ''}"))

    def dotted(self, match: re.Match[str]) -> str:
        letters = match[0].replace(".", "")
        spoken = spell_in_english(letters)
        return f"{spoken} ." if match[0].endswith(".") and _ends_sentence(match) else spoken

    def mixed(self, match: re.Match[str]) -> str:
        parts = _RUNS.findall(match[0])
        if len(parts) > 1 and parts[-1] == "s" and parts[-2].isdecimal():
            return " ".join(map(self._part, parts[:-1])) + "'s"
        if len(parts) > 4 and "-" not in match[0]:
            parts = [
                piece for part in parts for piece in ([part] if part.isdecimal() and len(part) < 3 else part)
            ]
        return " ".join(self._part(part) for part in parts)

    def _part(self, part: str) -> str:
        if part.isdecimal():
            return code_number(self._vocabulary, part)
        if not part.isalpha():
            return self._speak(part)
        is_short = len(part) == 1 or (len(part) <= 3 and part.isupper())
        if is_short or part in SPELLED or _is_unpronounceable(part):
            return spell_in_english(part)
        return self._speak(part)

    def shouted(self, match: re.Match[str]) -> str | None:
        """In a sentence of capitals a word of capitals is a word."""
        word = match[0]
        if not _is_shouted(match.string) or (word in SPELLED and word not in _ALSO_WORDS):
            return None
        if word == "I" or word.startswith(("I'", "I’")):
            return None
        lowered = word.lower()
        is_word = lowered.replace("’", "'") in dictionary() or "'" in word or len(word) > 5
        return lowered if is_word or lowered == "a" else None

    def lettered(self, match: re.Match[str]) -> str | None:
        letters, ending = match.groups()
        if letters in SAID:
            return SAID[letters] + (ending or "")
        if letters not in SPELLED and not dictionary().isdisjoint((letters, letters.lower())):
            return None
        return spell_in_english(letters) + ("'s" if ending else "")

    def capitals(self, match: re.Match[str]) -> str | None:
        word = match[0]
        if word in dictionary():
            return None
        if _is_unpronounceable(word):
            return spell_in_english(word)
        return word.lower() if word.lower() in dictionary() else word.capitalize()

    def drawn_out(self, match: re.Match[str]) -> str | None:
        word = match[0]
        is_spelled = word.lower() in ("www", "xxx", "aaa", "xxl") or set(word) <= set("IVXLCDM")
        return shortened(word) if word.isalpha() and not is_spelled else None


def with_full_stop(last: Reading, text: str) -> Reading:
    """misaki takes the stop behind a letter for a part of it, unless there is a space between them."""
    if _ENDS_IN_LETTER.search(last.spoken) and _ONLY_A_STOP.match(text, last.end_char):
        return Reading(last.start_char, last.end_char + 1, f"{last.spoken} .")
    return last


def shortened(word: str) -> str:
    """The word that "sooooo" draws out: its long letters once or twice, as the dictionary has it."""
    runs = [(letter, len(list(run))) for letter, run in groupby(word.lower())]
    candidates = [""]
    for letter, count in runs:
        lengths = (2, 1) if count > 2 else (count,)
        candidates = [start + letter * length for start in candidates for length in lengths][:64]
    plausible = [candidate for candidate in candidates if candidate in dictionary()]
    spoken = next(iter(plausible), candidates[-1])
    spoken = _RATHER.get(spoken, spoken)
    return spoken.capitalize() if word[0].isupper() else spoken


@lru_cache(maxsize=1)
def dictionary() -> frozenset[str]:
    """The words that misaki knows the sound of."""
    known = json.loads(files("misaki.data").joinpath("us_gold.json").read_text(encoding="utf-8"))
    return frozenset(word for word in known if len(word) > 1)


def _is_unpronounceable(word: str) -> bool:
    return not re.search("[aeiouyAEIOUYÀ-ÿ]", word)


@lru_cache(maxsize=64)
def _is_shouted(text: str) -> bool:
    words = [word for word in _ANY_WORD.findall(text) if len(word) > 1 or word in "IA"]
    shouted = [word for word in words if word.isupper()]
    longest = max((len(word) for word in shouted if word not in SPELLED), default=0)
    return len(shouted) > 0.7 * len(words) and longest > 3 and len(words) > 1


def _ends_sentence(match: re.Match[str]) -> bool:
    return not any(map(str.isalnum, match.string[match.end() :]))


def _is_pronoun(match: re.Match[str]) -> bool:
    """In "Mary I think", and not in "Mary I of England"."""
    return match[2] == "I" and bool(_PRONOUN_AFTER.match(match.string, match.end()))
