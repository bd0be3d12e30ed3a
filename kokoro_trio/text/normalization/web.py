"""Addresses: web pages, mailboxes, IP addresses, files, paths, handles and hashtags."""

import re
from collections.abc import Iterator

from linkify_it import LinkifyIt  # type: ignore[import-untyped]

from kokoro_trio.text.normalization.numerals import code_number
from kokoro_trio.text.normalization.rules import Normalize, Rule
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_LINKIFY = LinkifyIt(options={"fuzzy_ip": False})
_LINK_CANDIDATE = re.compile(
    r"""(?<![^\s(\[{<"'“‘«]) (?=[^\s.@/]{0,300}+[.@/])
    [^\s<>"“”«»]{1,300}
    (?=[\s<>"“”«»]|\Z)""",
    re.VERBOSE,
)
# Without a scheme or a slash only a common top-level domain, because "so.In" lacks a space.
_LIKELY_LINK = re.compile(
    r""":// | \w@\w | \Awww\.
    | \.(?:com|org|net|edu|gov|io|ai|dev|app|co|us|uk|de|fr|es|it|br|in|ca|eu|info|me|tv)(?:[:/?\#]|\Z)""",
    re.VERBOSE,
)
_CLOSING = ".,;:!?)]}'’"
_SCHEME = re.compile(r"\A(?:[a-z][a-z0-9+.-]*:)?//(?:www\d?\.)?|\Amailto:|\Awww\d?\.", re.I)
_EXTENSIONS = (
    "py|js|ts|jsx|tsx|md|txt|json|yaml|yml|toml|csv|tsv|xml|html|htm|css|scss|c|h|"
    "cpp|hpp|rs|go|java|kt|rb|php|sh|bash|zsh|bat|ps1|sql|ipynb|pdf|doc|docx|xls|xlsx|"
    "ppt|pptx|png|jpg|jpeg|gif|svg|webp|mp3|mp4|wav|ogg|flac|mov|zip|tar|gz|exe|dll|"
    "so|dmg|apk|iso|env|lock|log|cfg|ini|conf|bin|dat|db|pt|pth|onnx|gguf|safetensors"
)
_FILE = re.compile(
    rf"""(?<![\w.@/\\-]) (?=[\w\-]*[^\W\d])
    [\w\-]+ (?: \.[\w\-]+ ){{0,3}} \.(?:{_EXTENSIONS})
    (?![\w/]|\.\w)""",
    re.VERBOSE,
)
_DOTFILE = re.compile(r"(?<!\S)\.[a-z][\w\-]+(?:\.\w+)?")
_PATH = re.compile(
    r"""(?<![^\s("'“‘`])
    (?: (?: ~?/(?=[\w.]) | \.{1,2}/ | [A-Za-z]:[\\/] ) [\w.\-]* (?:[/\\]+[\w.\-]+)* [/\\]?
    | (?=[\w.\-/]*[^\W\d_]) [\w.\-]+ (?:/[\w.\-]+){2,} /?
    | [\w.\-]+ (?:/[\w\-]+)+ \.[a-z]\w* )""",
    re.VERBOSE,
)
_IP_ADDRESS = re.compile(r"(?<![\w.])(?P<groups>\d{1,3}(?:\.\d{1,3}){3})(?::(?P<port>\d{1,5}))?(?![\w]|\.\d)")
_HANDLE = re.compile(r"(?<![\w@./])@(\w[\w.\-]*\w|\w)")
_HASHTAG = re.compile(r"(?<![\w#&/])#(?=\w*[^\W\d])(\w+)")
_PIECES = re.compile(r"[^\W_]+|[^\w\s]|_")
_PARTS_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W_]")


def rules(vocabulary: Vocabulary, normalize: Normalize) -> list[Rule]:
    addresses = _Addresses(vocabulary, normalize)
    return [
        Rule(_LINK_CANDIDATE, addresses.link),
        Rule(_IP_ADDRESS, addresses.ip),
        Rule(_FILE, addresses.path),
        Rule(_PATH, addresses.path),
        Rule(_DOTFILE, addresses.path),
        Rule(_HASHTAG, addresses.hashtag),
        Rule(_HANDLE, addresses.handle),
    ]


class _Addresses:
    def __init__(self, vocabulary: Vocabulary, normalize: Normalize) -> None:
        self._vocabulary = vocabulary
        self._normalize = normalize

    def link(self, match: re.Match[str]) -> str | None:
        written = match[0].rstrip(_CLOSING)
        if not _LIKELY_LINK.search(written):
            return None
        links = [_LINKIFY.match_at_start(written)] if "://" in written else _LINKIFY.match(written)
        found = next(iter(links or ()), None)
        if not found or found.index > 0 or found.last_index < len(written):
            return None
        address = _SCHEME.sub("", written).partition("?")[0].rstrip("/")
        return self._spoken(address) + match[0][len(written) :]

    def ip(self, match: re.Match[str]) -> str:
        symbols = self._vocabulary.symbols
        spoken = f" {symbols['.']} ".join(map(self._number, match["groups"].split(".")))
        return f"{spoken} {symbols[':']} {self._number(match['port'])}" if match["port"] else spoken

    def _number(self, digits: str) -> str:
        return code_number(self._vocabulary, digits)

    def path(self, match: re.Match[str]) -> str:
        written = match[0].rstrip(_CLOSING)
        return self._spoken(written) + match[0][len(written) :]

    def hashtag(self, match: re.Match[str]) -> str:
        return f"{self._vocabulary.hashtag} {self._name(match[1])}"

    def handle(self, match: re.Match[str]) -> str:
        return f"{self._vocabulary.symbols['@']} {self._spoken(match[1])}"

    def _spoken(self, address: str) -> str:
        return " ".join(self._words(address)) or address

    def _words(self, address: str) -> Iterator[str]:
        for piece in _PIECES.findall(address):
            if piece[0].isalnum():
                yield self._name(piece)
            elif piece in self._vocabulary.symbols and piece != "~":
                yield self._vocabulary.symbols[piece]

    def _name(self, name: str) -> str:
        """The words of a name that is written as one word, like "MachineLearning"."""
        parts = _PARTS_OF_NAME.findall(name.replace("_", " "))
        return " ".join(self._vocabulary.spoken_names.get(part) or self._normalize(part) for part in parts)
