"""Contract: JSON files that are read again after a change, and replaced atomically."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from filelock import FileLock

from kokoro_trio import watched
from kokoro_trio.watched import (
    DamagedFile,
    FileBusy,
    WatchedJson,
    change_json_object,
    read_json_object,
)

DAMAGED = (b"", b"{", b'{"a": 1', b"[1]", b"null", b'"text"', b"\xff\xfe{", b"[" * 100_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def numbers(content: Mapping[str, Any]) -> list[int]:
    return [int(value) for value in content.values()]


def events(logged: list[structlog.typing.EventDict]) -> list[str]:
    return [entry["event"] for entry in logged if entry["log_level"] == "error"]


class TestWatching:
    def test_missing_file_is_an_empty_object(self, path: Path) -> None:
        with structlog.testing.capture_logs() as logged:
            assert WatchedJson(path, numbers).current() == []
        assert logged == []

    def test_change_and_removal_are_noticed(self, path: Path) -> None:
        watched = WatchedJson(path, numbers)
        path.write_text('{"a": 1}')
        assert watched.current() == [1]
        path.write_text('{"a": 1, "b": 2}')
        assert watched.current() == [1, 2]
        path.unlink()
        assert watched.current() == []

    def test_unchanged_file_is_not_read_again(self, path: Path) -> None:
        path.write_text('{"a": 1}')
        watched = WatchedJson(path, numbers)
        first = watched.current()
        assert watched.current() is first

    def test_new_file_of_equal_size_and_time_is_noticed(self, path: Path) -> None:
        path.write_text('{"a": 1}')
        watched = WatchedJson(path, numbers)
        watched.current()
        other = path.with_name("other")
        other.write_text('{"a": 2}')
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.replace(path)
        assert watched.current() == [2]

    @pytest.mark.parametrize("damaged", DAMAGED)
    def test_damaged_file_is_logged_once_and_ignored(self, path: Path, damaged: bytes) -> None:
        path.write_text('{"a": 1}')
        watched = WatchedJson(path, numbers)
        watched.current()
        path.write_bytes(damaged)
        with structlog.testing.capture_logs() as logged:
            assert [watched.current() for _ in range(3)] == [[1]] * 3
        assert events(logged) == ["file_damaged"]
        path.write_text('{"a": 3}')
        assert watched.current() == [3]

    def test_file_damaged_from_the_start_is_empty(self, path: Path) -> None:
        path.write_bytes(b"{")
        with structlog.testing.capture_logs() as logged:
            assert WatchedJson(path, numbers).current() == []
        assert events(logged) == ["file_damaged"]

    def test_value_error_of_parse_counts_as_damage(self, path: Path) -> None:
        path.write_text('{"a": "one"}')
        with structlog.testing.capture_logs() as logged:
            assert WatchedJson(path, numbers).current() == []
        assert events(logged) == ["file_damaged"]

    def test_folder_in_place_of_the_file_is_logged(self, path: Path) -> None:
        path.mkdir()
        with structlog.testing.capture_logs() as logged:
            assert WatchedJson(path, numbers).current() == []
        assert events(logged) == ["file_not_readable"]


class TestChanging:
    def test_folder_is_created(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "file.json"
        change_json_object(path, lambda content: content.update(a="ä"))
        assert read_json_object(path) == {"a": "ä"}

    @pytest.mark.parametrize("damaged", DAMAGED)
    def test_damaged_file_is_never_overwritten(self, path: Path, damaged: bytes) -> None:
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile):
            change_json_object(path, lambda content: content.update(a=1))
        assert path.read_bytes() == damaged

    def test_failed_change_leaves_the_file_unchanged(self, path: Path) -> None:
        path.write_text('{"a": 1}')
        before = path.stat()
        with pytest.raises(KeyError):
            change_json_object(path, lambda content: content.pop("b"))
        assert path.stat() == before

    def test_failed_write_leaves_the_file_unchanged(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(descriptor: int) -> None:
            raise OSError("the disk is full")

        path.write_text('{"a": 1}')
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="full"):
            change_json_object(path, lambda content: content.update(b=2))
        assert path.read_text() == '{"a": 1}'
        monkeypatch.undo()
        change_json_object(path, lambda content: content.update(c=3))
        assert read_json_object(path) == {"a": 1, "c": 3}

    def test_symbolic_link_is_kept(self, path: Path) -> None:
        real = path.with_name("real.json")
        path.symlink_to(real)
        change_json_object(path, lambda content: content.update(a=1))
        assert path.is_symlink()
        assert json.loads(real.read_text()) == {"a": 1}

    def test_lone_surrogate_survives(self, path: Path) -> None:
        path.write_text(r'{"\ud800": 1}')
        change_json_object(path, lambda content: content.update(a=1))
        assert read_json_object(path) == {"\ud800": 1, "a": 1}

    def test_locked_file_is_busy(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watched, "LOCK_TIMEOUT_S", 0.05)
        with FileLock(f"{path}.lock"), pytest.raises(FileBusy, match="another process"):
            change_json_object(path, lambda content: content.update(a=1))
        assert not path.exists()


def test_module_imports_neither_trio_nor_torch() -> None:
    code = "import sys, kokoro_trio.watched; sys.exit(bool({'trio', 'torch'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
