"""Chooses the build of torch that fits this machine, for scripts/setup.sh. It needs no packages.

python scripts/torch_build.py auto     the CUDA build that fits the driver; the CPU build without a driver
python scripts/torch_build.py --cpu    the CPU build
python scripts/torch_build.py --cuda   the CUDA build that fits the driver; fails if none does
python scripts/torch_build.py URL      the build in the index at URL
python scripts/torch_build.py driver   prints the CUDA version of the driver; fails if no build fits it

All but the last print one line, "BUILD INDEX REASON". BUILD is `cpu` or, for example, `cu126`, and INDEX is
the part of PyTorch's own index that has it; or BUILD is `pip` and INDEX is `-`: pip chooses; or BUILD is URL,
without its user name and password.

PyTorch's index has torch 2.13.0 for CUDA 12.6, 12.9, 13.0 and 13.2 (experimental). The choice relies on
three rules. CUDA's minor version compatibility: a build for CUDA 12.x runs on any driver from 525 on, and one
for 13.x on any from 580 on. Backward compatibility: newer drivers run older builds. And PyTorch's support
matrix: the build for CUDA 12.6 has kernels for Maxwell to Hopper (compute capability 5.0 to 9.0), the others
for Turing to Blackwell (7.5 to 12.0).
"""

import re
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Sequence
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PYTORCH_INDEX = "https://download.pytorch.org/whl"
PROBE_TIMEOUT_S = 3
NVIDIA_SMI_TIMEOUT_S = 20
"""Without persistence mode the driver first initializes each GPU, which takes seconds."""

OLDEST_CUDA = 12, 0
OLDEST_DRIVER = "525"
PIP_BUILD = "cu130"
"""PyPI has this build for Linux."""
TURING, BLACKWELL = (7, 5), (10, 0)

Version = tuple[int, int]


class NoDriver(Exception):
    pass


class DriverTooOld(Exception):
    def __init__(self, cuda: Version) -> None:
        super().__init__(
            f"the NVIDIA driver supports CUDA {_spelled(cuda)} at most, torch needs "
            f"{_spelled(OLDEST_CUDA)} (driver {OLDEST_DRIVER}): update the driver"
        )


class IndexUnreachable(Exception):
    pass


def main(arguments: Sequence[str]) -> None:
    [wanted] = arguments
    try:
        print(_spelled(fitting_driver()) if wanted == "driver" else " ".join(choose(wanted)))
    except (NoDriver, DriverTooOld, IndexUnreachable) as error:
        sys.exit(f"error: {error}")


def choose(wanted: str) -> tuple[str, str, str]:
    """BUILD, INDEX and REASON."""
    if "/" in wanted:
        shown = re.sub("//[^/@]*@", "//", wanted)
        return shown, wanted, f"the build in {shown}"
    if sys.platform != "linux":
        if wanted == "--cuda":
            raise NoDriver(f"torch has no CUDA build for {sys.platform}")
        return "pip", "-", "there is one build for this system"
    build, reason = _wanted_build(wanted)
    try:
        require_answer(f"{PYTORCH_INDEX}/{build}/torch/")
    except IndexUnreachable as error:
        return "pip", "-", _without_index(wanted, build, str(error))
    return build, f"{PYTORCH_INDEX}/{build}", reason


def _wanted_build(wanted: str) -> tuple[str, str]:
    if wanted == "--cpu":
        return "cpu", "the CPU build, because of --cpu"
    try:
        cuda = fitting_driver()
    except NoDriver as error:
        if wanted == "--cuda":
            return "cu129", f"the build for CUDA 12.9, which most drivers can run ({error})"
        return "cpu", f"the CPU build ({error})"
    except DriverTooOld as error:
        if wanted == "--cuda":
            raise
        return "cpu", f"the CPU build: {error}, then run bash scripts/setup.sh --cuda"
    build = fitting_build(cuda, compute_capabilities())
    return build, f"the build for CUDA {build[2:4]}.{build[4:]} (the NVIDIA driver supports {_spelled(cuda)})"


def fitting_build(cuda: Version, capabilities: Sequence[Version]) -> str:
    if capabilities and min(capabilities) < TURING:
        return "cu126"
    if cuda >= (13, 0):
        return "cu130"
    needs_129 = bool(capabilities) and max(capabilities) >= BLACKWELL
    return "cu129" if needs_129 or cuda >= (12, 9) else "cu126"


def _without_index(wanted: str, build: str, trouble: str) -> str:
    """Returns REASON. Raises `IndexUnreachable` if CUDA is wanted and the build on PyPI does not fit."""
    if build == "cpu":
        found = "the build that pip finds, on Linux a CUDA build of several GB unless your index has another"
        return f"{found} ({trouble})"
    if wanted == "--cuda" and build != PIP_BUILD:
        raise IndexUnreachable(
            f"{trouble}, and PyPI has {PIP_BUILD} only, but {build} fits this machine; "
            "name another index: TORCH_INDEX=URL bash scripts/setup.sh --cuda"
        )
    return f"the build that pip finds, usually {PIP_BUILD}; {build} fits this machine ({trouble})"


# --- the driver --------------------------------------------------------------------------------


def fitting_driver() -> Version:
    """The highest CUDA version that the driver supports. Raises `NoDriver` and `DriverTooOld`."""
    if shutil.which("nvidia-smi") is None:
        raise NoDriver("there is no NVIDIA driver: no nvidia-smi")
    # Drivers from 610 on print "CUDA UMD Version".
    found = re.search(r"CUDA (?:\w+ )?Version\s*:\s*(\d+)\.(\d+)", _nvidia_smi())
    if found is None:
        raise NoDriver("nvidia-smi names no CUDA version")
    cuda = int(found[1]), int(found[2])
    if cuda < OLDEST_CUDA:
        raise DriverTooOld(cuda)
    return cuda


def compute_capabilities() -> list[Version]:
    """Of all GPUs; empty if the driver is older than 510, which does not report them."""
    try:
        listed = _nvidia_smi("--query-gpu=compute_cap", "--format=csv,noheader")
    except NoDriver:
        return []
    return [(int(major), int(minor)) for major, minor in re.findall(r"^(\d+)\.(\d+)$", listed, re.MULTILINE)]


def _nvidia_smi(*arguments: str) -> str:
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        output, _ = process.communicate(timeout=NVIDIA_SMI_TIMEOUT_S)
    except OSError as error:
        raise NoDriver(f"nvidia-smi cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        # Without wait(): a process that hangs in a broken driver survives SIGKILL.
        process.kill()
        raise NoDriver(f"nvidia-smi did not answer within {NVIDIA_SMI_TIMEOUT_S} s") from None
    if process.returncode != 0:
        first = " ".join(output.split())[:100] or "no output"
        raise NoDriver(f"nvidia-smi failed with status {process.returncode}: {first}")
    return output


def _spelled(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


# --- the index ---------------------------------------------------------------------------------


def require_answer(url: str) -> None:
    """Raises `IndexUnreachable` unless the page answers within `PROBE_TIMEOUT_S`.

    It runs in a thread, because the DNS look-up has no timeout.
    """
    trouble = [f"no answer within {PROBE_TIMEOUT_S} s"]

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=PROBE_TIMEOUT_S).close()
            trouble.clear()
        except HTTPError as error:
            error.close()
            trouble[:] = [f"HTTP status {error.code}"]
        except OSError as error:
            reason = getattr(error, "reason", error)
            # pip may trust other certificates, so a TLS error proves nothing.
            trouble[:] = [] if isinstance(reason, ssl.SSLError) else [str(reason)]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    if trouble:
        raise IndexUnreachable(f"PyTorch's index cannot be reached ({trouble[0]})")


if __name__ == "__main__":
    main(sys.argv[1:])
