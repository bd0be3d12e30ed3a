"""Removes the marks of Markdown, as language models write it, and keeps the text that is spoken."""

from collections.abc import Iterator, Sequence

from attrs import define, field, frozen
from markdown_it import MarkdownIt
from markdown_it.token import Token

from kokoro_trio.text.traced import Traced
from kokoro_trio.wire.limits import MAX_MARKDOWN_BRACKETS, MAX_MARKDOWN_CHARS, MAX_MARKDOWN_NESTING

_BULLETS = str.maketrans(dict.fromkeys("•◦‣▪●○", "-"))


@frozen
class _Kept:
    """`source[start:end]` is spoken as `text`."""

    start: int
    end: int
    text: str


class _NotFound(Exception):
    """The content of a token is not in the source behind the cursor."""


def _parser() -> MarkdownIt:
    # Indented text is not code, a reference definition is text, and only HTML tags are dropped, not the
    # text between them. Escapes stay tokens of their own, so that the reader finds them in the source.
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 2 * MAX_MARKDOWN_NESTING}).enable(
        ["table", "strikethrough"]
    )
    parser.disable(["code", "reference", "html_block", "normalize", "text_join"])
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return parser


_PARSER = _parser()


def blocks(text: Traced, source: str) -> list[Traced]:
    """The paragraphs, headings, items, cells and code of `text`, in order, without marks, tags and targets.

    `source` is `text`, character by character, as the Markdown parser may see it. Item numbers stay.
    """
    is_long = len(source) > MAX_MARKDOWN_CHARS or source.count("[") > MAX_MARKDOWN_BRACKETS
    if is_long or source.count(">") > MAX_MARKDOWN_NESTING:
        return [text]
    source = _with_plain_lines(source)
    lines = [0]
    for line in source.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    reader = _Reader(source, lines)
    return [_assembled(text, kept) for kept in reader.blocks(_PARSER.parse(source))]


def _with_plain_lines(source: str) -> str:
    """With "\\n" as line end and "-" as bullet. Every character keeps its position."""
    plain = source.replace("\r\n", " \n").replace("\r", "\n")
    return "\n".join(_with_plain_bullet(line) for line in plain.split("\n"))


def _with_plain_bullet(line: str) -> str:
    bullet = len(line) - len(line.lstrip())
    return line[:bullet] + line[bullet : bullet + 1].translate(_BULLETS) + line[bullet + 1 :]


def _assembled(text: Traced, kept: Sequence[_Kept]) -> Traced:
    parts = []
    for piece in kept:
        part = text.part(piece.start, piece.end)
        is_verbatim = piece.end - piece.start == len(piece.text)
        parts.append(part if is_verbatim else part.replaced([(0, len(part.text), piece.text)]))
    return Traced.joined(parts)


@define
class _Reader:
    """Finds the content of markdown-it's tokens in the source, because tokens do not have positions."""

    _source: str
    _lines: Sequence[int]
    _cursor: int = 0
    _number: list[_Kept] = field(factory=list)
    """The number of a list item, until its text is read."""

    def blocks(self, tokens: Sequence[Token]) -> Iterator[list[_Kept]]:
        for token in tokens:
            if token.map is not None:
                self._cursor = max(self._cursor, self._lines[token.map[0]])
            if token.type == "list_item_open":
                yield from self._take_number()
                self._number = self._number_of(token)
            elif token.type in ("inline", "fence"):
                content = self._content(token)
                yield [*self._number, *content]
                self._number = []
        yield from self._take_number()

    def _take_number(self) -> Iterator[list[_Kept]]:
        if self._number:
            yield self._number
        self._number = []

    def _number_of(self, item: Token) -> list[_Kept]:
        if not item.info:
            return []
        try:
            number = self._find(item.info + item.markup)
        except _NotFound:
            return []
        # A comma for the period, so that the number is not a sentence of its own.
        return [_Kept(number.start, number.end - 1, item.info), _Kept(number.end - 1, number.end, ", ")]

    def _content(self, block: Token) -> list[_Kept]:
        """The spoken text of a block, or its source if the tokens are not found in it."""
        start = self._cursor
        try:
            if block.type == "fence":
                return list(self._code(block))
            return list(self._inline(block.children or []))
        except _NotFound:
            end = self._lines[block.map[1]] - 1 if block.map else start
            self._cursor = max(start, end)
            return [_Kept(start, self._cursor, self._source[start : self._cursor])]

    def _code(self, fence: Token) -> Iterator[_Kept]:
        assert fence.map is not None, "a block knows its lines"
        self._cursor = self._lines[fence.map[0] + 1] - 1
        for line in fence.content.split("\n"):
            if line.strip():
                yield self._find("\n")
                yield self._find(line.strip())

    def _inline(self, tokens: Sequence[Token]) -> Iterator[_Kept]:
        target: str | None = None
        for token in tokens:
            match token.type:
                case "text" if token.content:
                    yield self._find(token.content)
                case "code_inline":
                    yield from self._code_inline(token.content.split())
                case "text_special":
                    yield self._find(token.content, written=token.markup)
                case "softbreak" | "hardbreak":
                    yield self._find("\n")
                case "html_inline":
                    tag = self._find(token.content)
                    yield _Kept(tag.start, tag.end, " ")
                case "image":
                    self._find("![")
                    yield from self._inline(token.children or [])
                    self._skip_target(str(token.attrs["src"]))
                case "link_open" if token.markup != "autolink":
                    self._find("[")
                    target = str(token.attrs["href"])
                case "link_close" if target is not None:
                    self._skip_target(target)
                    target = None

    def _code_inline(self, words: Sequence[str]) -> Iterator[_Kept]:
        """From the first word to the last. A line end in the source is a space in the token."""
        if words:
            first, *others = map(self._find, words)
            end = others[-1].end if others else first.end
            yield _Kept(first.start, end, self._source[first.start : end])

    def _skip_target(self, url: str) -> None:
        self._find("](")
        self._find(url)
        self._find(")")

    def _find(self, content: str, written: str | None = None) -> _Kept:
        """`content`, which is written as `written` in the source."""
        written = written or content
        start = self._source.find(written, self._cursor)
        if start < 0:
            raise _NotFound
        self._cursor = start + len(written)
        return _Kept(start, self._cursor, content)
