"""Programs that some tests need and that not every machine has: `@pytest.mark.needs("chromium")`."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest
from attrs import frozen

PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
"""Includes the folders of HAProxy and nginx, which only root has in PATH."""


@frozen
class Program:
    names: tuple[str, ...]
    package: str
    """Its name in Debian and Ubuntu."""
    may_run: Callable[[], bool] = lambda: True

    @property
    def path(self) -> str | None:
        found = (shutil.which(name, path=PATH) for name in self.names)
        return next(filter(None, found), None)


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


PROGRAMS: Mapping[str, Program] = {
    "chromium": Program(("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "haproxy": Program(("haproxy",), "haproxy"),
    "nginx": Program(("nginx",), "nginx-light"),
    "systemd-analyze": Program(("systemd-analyze",), "systemd"),
    "unshare": Program(("unshare",), "util-linux", _may_unshare),
}


def lack_of(name: str) -> str | None:
    """Why a test that needs the program cannot run here; None if it can."""
    program = PROGRAMS[name]
    if program.path is None:
        return f"{name} is not installed; on Debian and Ubuntu: apt-get install {program.package}"
    return None if program.may_run() else f"{name} is not permitted here: run the test as root"


def skip_or_fail(reason: str) -> None:
    """Continuous integration sets REQUIRE_PROGRAMS, because it must skip no test for a missing program."""
    if os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(reason, False)
    pytest.skip(reason)
