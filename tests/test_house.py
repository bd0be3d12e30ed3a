"""Pure: which modules the tests import."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from kokoro_trio.config import REPOSITORY


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            prefix = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            yield from (prefix + alias.name for alias in node.names)


def test_no_module_imports_a_test_module() -> None:
    """Shared helpers lie in `tests/support`."""
    imports = {
        (path.name, name) for path in (REPOSITORY / "tests").rglob("*.py") for name in imported_by(path)
    }
    assert not {(by, name) for by, name in imports if re.search(r"(^|\.)test_", name)}
