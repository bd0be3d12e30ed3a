"""Copies of the repository in which the shell scripts run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen

from kokoro_trio.config import REPOSITORY

COPIED = ["scripts", ".ci", "pyproject.toml", "setup.py", "constraints.txt"]


@frozen
class Checkout:
    """A copy of the repository and the environment of its scripts."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.folder / script), *arguments],
            cwd="/",
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def source(self, script: str, commands: str) -> str:
        """The output of commands that call functions of the script."""
        outcome = subprocess.run(
            ["bash", "-c", f"source {script}\n{commands}"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return outcome.stdout

    def write(self, path: str, content: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def write_program(self, path: str, content: str) -> Path:
        file = self.write(path, content)
        file.chmod(0o755)
        return file

    def server_pid(self) -> int:
        return int((self.folder / "logs" / "server.pid").read_text())


def copy_of_repository(tmp_path: Path) -> Checkout:
    folder = tmp_path / "kokoro trio"
    folder.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return Checkout(folder, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})


def error_line(outcome: subprocess.CompletedProcess[str]) -> str:
    """The error of a failed script, which must be one line on stderr."""
    assert outcome.returncode == 1, outcome
    [line] = outcome.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def python_stand_in(version: str, fails_at: str = "nothing", saying: str = "") -> str:
    """A shell script that acts as a Python of this version and fails at commands with `fails_at`."""
    claim = f"import sys; sys.version_info = ({version}, 0)"
    return f"""#!/bin/sh
case "$*" in *"{fails_at}"*) echo "{saying}"; exit 1 ;; esac
[ "$1" != -c ] || {{ code=$2; shift 2; exec "{sys.executable}" -c "{claim}; exec('''$code''')" "$@"; }}
exec "{sys.executable}" "$@"
"""
