"""Static checks of the source and the configuration for security."""

import ast
from pathlib import Path

import pytest

from kokoro_trio.config import REPOSITORY, Config

SOURCES = [
    *REPOSITORY.glob("kokoro_trio/**/*.py"),
    *REPOSITORY.glob("scripts/*.py"),
    *REPOSITORY.glob("voices/*.py"),
]
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_is_unpickled(path: Path) -> None:
    """A pickle can run any code. torch can be told to read one as plain data."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & UNPICKLERS
    assert all(keyword(call, "weights_only") == "True" for call in calls(tree, "torch.load"))
    assert all(keyword(call, "allow_pickle") in (None, "False") for call in calls(tree, "np.load"))


def test_repr_of_the_config_hides_the_keys() -> None:
    config = Config.of({"API_KEY": "tell-nobody"})
    assert config.listen.api_keys == ("tell-nobody",)
    assert "tell-nobody" not in repr(config)
