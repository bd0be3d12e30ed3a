"""Files that change while they are looked at."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kokoro_trio.watched import WatchedJson


def number(content: object) -> int:
    if not isinstance(content, int):
        raise ValueError("it must hold a number")
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "number.json"


@pytest.fixture
def watched(path: Path) -> WatchedJson[int]:
    return WatchedJson(path, number, empty=-1)


def test_what_is_not_there_is_empty(watched: WatchedJson[int]) -> None:
    assert watched.current() == -1


def test_changes_are_seen(watched: WatchedJson[int], path: Path) -> None:
    seen = []
    for text in ("1", "22", "33"):
        path.write_text(text)
        seen.append(watched.current())
    path.unlink()
    seen.append(watched.current())
    assert seen == [1, 22, 33, -1]


def test_a_file_put_in_its_place_is_seen(watched: WatchedJson[int], path: Path) -> None:
    path.write_text("1")
    assert watched.current() == 1
    status = path.stat()
    other = path.with_name("other")
    other.write_text("2")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert watched.current() == 2


@pytest.mark.parametrize("damage", ["{", '"text"', "\udcff", ""])
def test_damage_is_reported_once_and_changes_nothing(
    watched: WatchedJson[int], path: Path, damage: str
) -> None:
    path.write_text("1")
    assert watched.current() == 1
    path.write_bytes(damage.encode(errors="surrogateescape"))
    with capture_logs() as logs:
        assert [watched.current(), watched.current()] == [1, 1]
    (event,) = logs
    assert event["log_level"] == "error"
    assert event["path"] == str(path)
    path.write_text("5")
    assert watched.current() == 5


def test_a_file_without_change_is_not_read_again(path: Path) -> None:
    path.write_text("1")
    read: list[object] = []
    watched = WatchedJson(path, read.append, empty=None)
    watched.current()
    watched.current()
    assert read == [1]
