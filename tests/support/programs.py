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


@frozen
class Lacking:
    """Why a test cannot run here."""

    reason: str
    is_mendable: bool
    """Whether installing a package helps."""


def lack_of(name: str) -> Lacking | None:
    program = PROGRAMS[name]
    if program.path is None:
        return Lacking(
            f"{name} is not installed; on Debian and Ubuntu: apt-get install {program.package}", True
        )
    if not program.may_run():
        return Lacking(f"{name} may not be used here: run the test as root", False)
    return None


def skip_or_fail(lacking: Lacking) -> None:
    """Continuous integration installs all programs, so it must not skip a test for a missing one."""
    if lacking.is_mendable and os.environ.get("REQUIRE_PROGRAMS"):
        pytest.fail(lacking.reason, False)
    pytest.skip(lacking.reason)
