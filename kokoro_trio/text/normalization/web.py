"""Addresses: of pages, mailboxes, machines, files and people."""

import re
from collections.abc import Iterator

from linkify_it import LinkifyIt  # type: ignore[import-untyped]

from kokoro_trio.text.normalization.numerals import code_number
from kokoro_trio.text.normalization.scan import Kind, Speak
from kokoro_trio.text.normalization.vocabulary import Vocabulary

_LINK = LinkifyIt(options={"fuzzy_ip": False})
_LIKE_A_LINK = re.compile(
    r"(?<![^\s(\[{<\"'“‘«])(?=[^\s.@/]{0,300}+[.@/])[^\s<>\"“”«»]{1,300}(?=[\s<>\"“”«»]|\Z)"
)
# Without a scheme and a slash only what ends as most addresses do: "so.In" is a missing space.
_LIKELY = re.compile(
    r"://|\w@\w|\Awww\.|\.(?:com|org|net|edu|gov|io|ai|dev|app|co|us|uk|de|fr|es|it|br|in|ca|eu|info|me|tv)(?:[:/?#]|\Z)"
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
    rf"(?<![\w.@/\\-])(?=[\w\-]*[^\W\d])[\w\-]+(?:\.[\w\-]+){{0,3}}\.(?:{_EXTENSIONS})(?![\w/]|\.\w)"
)
_DOTFILE = re.compile(r"(?<!\S)\.[a-z][\w\-]+(?:\.\w+)?")
_PATH = re.compile(
    r"(?<![^\s(\"'“‘`])(?:~?/(?=[\w.])|\.{1,2}/|[A-Za-z]:[\\/])[\w.\-]*(?:[/\\]+[\w.\-]+)*[/\\]?"
    r"|(?<![^\s(\"'“‘`])(?=[\w.\-/]*[^\W\d_])[\w.\-]+(?:/[\w.\-]+){2,}/?|(?<![^\s(\"'“‘`])[\w.\-]+(?:/[\w\-]+)+\.[a-z]\w*"
)
_IP_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::(\d{1,5}))?(?![\w]|\.\d)")
_HANDLE = re.compile(r"(?<![\w@./])@(\w[\w.\-]*\w|\w)")
_HASHTAG = re.compile(r"(?<![\w#&/])#(?=\w*[^\W\d])(\w+)")
_PIECES = re.compile(r"[^\W_]+|[^\w\s]|_")
_PART_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[^\W_]")


def kinds(vocabulary: Vocabulary, speak: Speak) -> list[Kind]:
    addresses = _Addresses(vocabulary, speak)
    return [
        Kind(_LIKE_A_LINK, addresses.link),
        Kind(_IP_ADDRESS, addresses.ip),
        Kind(_FILE, addresses.told),
        Kind(_PATH, addresses.told),
        Kind(_DOTFILE, addresses.told),
        Kind(_HASHTAG, addresses.hashtag),
        Kind(_HANDLE, addresses.handle),
    ]


class _Addresses:
    def __init__(self, vocabulary: Vocabulary, speak: Speak) -> None:
        self._vocabulary = vocabulary
        self._speak = speak

    def link(self, match: re.Match[str]) -> str | None:
        written = match[0].rstrip(_CLOSING)
        if not _LIKELY.search(written):
            return None
        links = [_LINK.match_at_start(written)] if "://" in written else _LINK.match(written)
        found = next(iter(links or ()), None)
        if not found or found.index > 0 or found.last_index < len(written):
            return None
        address = _SCHEME.sub("", written).partition("?")[0].rstrip("/")
        return self._tell(address) + match[0][len(written) :]

    def ip(self, match: re.Match[str]) -> str:
        groups = match[0].partition(":")[0].split(".")
        spoken = f" {self._vocabulary.symbols['.']} ".join(self._number(group) for group in groups)
        return f"{spoken} {self._vocabulary.symbols[':']} {self._number(match[1])}" if match[1] else spoken

    def _number(self, digits: str) -> str:
        return code_number(self._vocabulary, digits)

    def told(self, match: re.Match[str]) -> str:
        written = match[0].rstrip(_CLOSING)
        return self._tell(written) + match[0][len(written) :]

    def hashtag(self, match: re.Match[str]) -> str:
        return f"{self._vocabulary.hashtag} {self._name(match[1])}"

    def handle(self, match: re.Match[str]) -> str:
        return f"{self._vocabulary.symbols['@']} {self._tell(match[1])}"

    def _tell(self, address: str) -> str:
        return " ".join(self._told(address)) or address

    def _told(self, address: str) -> Iterator[str]:
        for piece in _PIECES.findall(address):
            if piece[0].isalnum():
                yield self._name(piece)
            elif piece in self._vocabulary.symbols and piece != "~":
                yield self._vocabulary.symbols[piece]

    def _name(self, name: str) -> str:
        """The words of a name that is written as one: "MachineLearning"."""
        parts = _PART_OF_NAME.findall(name.replace("_", " "))
        return " ".join(self._vocabulary.spoken_names.get(part) or self._speak(part) for part in parts)
