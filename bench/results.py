"""Results that are kept: the figures of a run with its date, machine, commit and command, as JSON.

bench/render.py makes the tables of the READMEs from these files.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from kokoro_trio.installation import DATA_FOLDER, IS_CHECKOUT, REPOSITORY

from .report import Report
from .server_state import ServerState

FOLDER = DATA_FOLDER / "bench" / "results"
SECRETS = ("--api-key", "--openai-key")
INSTRUCTION_SETS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd")
"""As /proc/cpuinfo names them; the first one found counts."""
HIDDEN = "…"


@frozen
class Machine:
    """The machine of the bench; it is the server's machine unless `--host` names another one."""

    cpu: str
    cores: int
    instruction_set: str
    memory_gb: float
    system: str
    python: str
    torch: str

    @classmethod
    def this(cls) -> "Machine":
        cpuinfo = _cpuinfo()
        model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
        flags = set(cpuinfo.split())
        return cls(
            cpu=model[1] if model else platform.processor() or platform.machine(),
            cores=os.cpu_count() or 0,
            instruction_set=next((name for name in INSTRUCTION_SETS if name in flags), ""),
            memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            torch=_version_of("torch"),
        )

    def __str__(self) -> str:
        parts = [self.cpu, f"{self.cores} cores", self.instruction_set, f"{self.memory_gb:g} GB"]
        return ", ".join(part for part in [*parts, self.torch and f"torch {self.torch}"] if part)


@frozen
class Record:
    """A run. `report` and `figures` are added by `write`."""

    what: str
    date: str
    note: str
    commit: str
    """Of the checkout, with "-dirty" for uncommitted changes; outside of a checkout the version."""
    command: str
    load_average_before: float
    machine: Machine
    server: ServerState

    @classmethod
    def begin(cls, options: argparse.Namespace, what: str, server: ServerState) -> "Record":
        return cls(
            what=what,
            date=datetime.now(UTC).date().isoformat(),
            note=options.note,
            commit=commit() or _version_of("kokoro-trio"),
            command=f"{Path(sys.argv[0]).name} {shlex.join(without_secrets(sys.argv[1:]))}",
            load_average_before=round(os.getloadavg()[0], 2),
            machine=Machine.this(),
            server=server,
        )

    @property
    def name(self) -> str:
        machine = f"{self.machine.cores}core-{self.machine.instruction_set or self.machine.system}"
        device = "" if self.server.device == "cpu" else f"-{self.server.device}"
        return f"{self.date}-{_slug(machine + device)}-{self.what}"

    def write(self, folder: Path, report: Report, figures: dict[str, Any]) -> Path:
        """Replaces an earlier result of the day, machine and mode. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        content = asdict(self) | {"report": asdict(report), "figures": figures}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def commit() -> str:
    """Empty outside of a checkout."""
    if not IS_CHECKOUT:
        return ""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def without_secrets(arguments: Sequence[str]) -> Iterator[str]:
    hides_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_secret = name in SECRETS
        yield HIDDEN if hides_next else f"{name}={HIDDEN}" if is_secret and equals else argument
        hides_next = is_secret and not equals


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:  # Not Linux.
        return ""


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _slug(text: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in text.lower())
