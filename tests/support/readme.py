"""The programs in the README, as a reader would copy them."""

import re

from kokoro_trio.config import REPOSITORY

_FENCED = re.compile(r"^```(?:\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def snippet(first_line: str) -> str:
    """The one block of code whose first line is this, a comment with a file's name mostly."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    found = [
        block["code"] for block in _FENCED.finditer(readme) if block["code"].startswith(f"{first_line}\n")
    ]
    assert len(found) == 1, f"{len(found)} blocks begin with {first_line!r}"
    return found[0]
