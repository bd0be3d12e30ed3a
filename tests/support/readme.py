"""The pages of documentation, and the programs in them as a reader would copy them."""

import re
from collections.abc import Iterator

from kokoro_trio.config import REPOSITORY

FOLDERS = ("bench", "kokoro_trio", "scripts", "tests", "voices")
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(page for name in FOLDERS for page in (REPOSITORY / name).rglob("*.md"))]
)

_FENCED = re.compile(r"^```(?:\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[str]:
    """The blocks of code of all pages."""
    for page in PAGES:
        yield from (found["code"] for found in _FENCED.finditer(page.read_text(encoding="utf-8")))


def snippet(first_line: str) -> str:
    """The one block of code that begins with this line, usually a comment with the name of a file."""
    found = [code for code in blocks() if code.startswith(f"{first_line}\n")]
    assert len(found) == 1, f"{len(found)} blocks begin with {first_line!r}"
    return found[0]
