"""End to end: scripts/setup.sh: its choice of Python and of torch's build, and its care for a foreign .venv.

Drivers, Pythons and indexes are stand-ins, and wheels contain only what setup reads; pip and the virtual
environments are real.
"""

import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pip
import pytest
from attrs import evolve, frozen

from tests.support.checkouts import Checkout, copy_of_repository, error_line, python_stand_in
from tests.support.processes import free_port

TORCH = "2.13.0"
HEADER = "| NVIDIA-SMI {driver}    {label} Version: {driver}    {cuda_label}: {cuda} |"


def header(driver: str, cuda: str) -> str:
    """A line of nvidia-smi, whose labels differ since driver 610."""
    is_new = int(driver.partition(".")[0]) >= 610
    label, cuda_label = ("KMD", "CUDA UMD Version") if is_new else ("Driver", "CUDA Version")
    return HEADER.format(driver=driver, label=label, cuda_label=cuda_label, cuda=cuda)


@frozen
class Machine:
    """A checkout on a machine with the PATH and the indexes of the test."""

    checkout: Checkout
    programs: Path
    indexes: Path

    def has_gpu(self, driver: str, cuda: str, *capabilities: str) -> None:
        told = "\n".join(capabilities) if capabilities else "Field compute_cap is not a valid field"
        self.has_nvidia_smi(
            f"""case "$*" in
            *compute_cap*) echo '{told}' ;;
            *) echo '{header(driver, cuda)}' ;;
            esac"""
        )

    def has_nvidia_smi(self, script: str) -> None:
        program = self.programs / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        program.chmod(0o755)

    def choose(self, wanted: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(self.checkout.folder / "scripts" / "torch_build.py"), wanted],
            env={"PATH": str(self.programs)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def chosen(self, wanted: str = "auto") -> list[str]:
        """BUILD, INDEX and REASON."""
        outcome = self.choose(wanted)
        assert (outcome.returncode, outcome.stderr) == (0, "")
        return outcome.stdout.rstrip("\n").split(" ", 2)

    def set_constant(self, name: str, value: str | int) -> None:
        script = self.checkout.folder / "scripts" / "torch_build.py"
        text, n = re.subn(f"^{name} = .*$", f"{name} = {value!r}", script.read_text(), flags=re.MULTILINE)
        assert n == 1
        script.write_text(text)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[int]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With PyTorch's index, without a driver."""
    programs, indexes = tmp_path / "programs", tmp_path / "indexes"
    programs.mkdir()
    for build in ("cpu", "cu126", "cu129", "cu130"):
        (indexes / "whl" / build / "torch").mkdir(parents=True)
    machine = Machine(copy_of_repository(tmp_path), programs, indexes)
    with serving(indexes) as port:
        machine.set_constant("PYTORCH_INDEX", f"http://127.0.0.1:{port}/whl")
        yield machine


class TestChoice:
    def test_cpu_build_without_driver(self, machine: Machine) -> None:
        build, index, reason = machine.chosen()
        assert build == "cpu"
        assert index.endswith("/whl/cpu")
        assert reason == "the CPU build (there is no NVIDIA driver: no nvidia-smi)"

    @pytest.mark.parametrize(
        ("driver", "cuda", "capabilities", "build"),
        [
            ("525.60.13", "12.0", ["8.0"], "cu126"),
            ("550.54.15", "12.4", ["9.0"], "cu126"),
            ("550.54.15", "12.4", [], "cu126"),
            ("570.86.10", "12.8", ["8.9", "8.9"], "cu126"),
            ("570.86.10", "12.8", ["10.0"], "cu129"),
            ("575.51.03", "12.9", ["8.9"], "cu129"),
            ("575.51.03", "12.9", ["7.0"], "cu126"),
            ("580.65.06", "13.0", ["8.6"], "cu130"),
            ("580.65.06", "13.0", ["6.1"], "cu126"),
            ("610.43.02", "13.3", ["12.0"], "cu130"),
            ("610.43.02", "13.3", [], "cu130"),
        ],
    )
    @pytest.mark.parametrize("wanted", ["auto", "--cuda"])
    def test_build_fits_driver_and_gpu(
        self, machine: Machine, wanted: str, driver: str, cuda: str, capabilities: list[str], build: str
    ) -> None:
        machine.has_gpu(driver, cuda, *capabilities)
        chosen, index, reason = machine.chosen(wanted)
        assert (chosen, index.rpartition("/")[2]) == (build, build)
        assert f"the NVIDIA driver supports {cuda}" in reason

    def test_cpu_build_with_gpu(self, machine: Machine) -> None:
        machine.has_gpu("550.54.15", "12.4", "9.0")
        assert machine.chosen("--cpu")[0] == "cpu"

    def test_driver_too_old_for_all_builds(self, machine: Machine) -> None:
        machine.has_gpu("470.82.01", "11.4", "7.5")
        build, _, reason = machine.chosen()
        assert build == "cpu"
        assert "supports CUDA 11.4 at most, torch needs 12.0 (driver 525): update the driver" in reason
        assert "update the driver" in error_line(machine.choose("--cuda"))

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            (
                "echo 'NVIDIA-SMI has failed'; exit 9",
                "nvidia-smi failed with status 9: NVIDIA-SMI has failed",
            ),
            ("exit 6", "nvidia-smi failed with status 6: no output"),
            ("exec sleep 60", "nvidia-smi did not answer within 1 s"),
            (f"echo '{header('550.1', 'N/A')}'", "nvidia-smi names no CUDA version"),
        ],
    )
    def test_broken_driver(self, machine: Machine, script: str, reason: str) -> None:
        machine.set_constant("NVIDIA_SMI_TIMEOUT_S", 1)
        machine.has_nvidia_smi(script)
        assert machine.chosen() == ["cpu", machine.chosen("--cpu")[1], f"the CPU build ({reason})"]
        # The machine that builds a container image may have no driver.
        assert machine.chosen("--cuda")[0] == "cu129"

    def test_own_index(self, machine: Machine) -> None:
        assert machine.chosen("https://me:secret@example.org/whl") == [
            "https://example.org/whl",
            "https://me:secret@example.org/whl",
            "the build in https://example.org/whl",
        ]

    @pytest.mark.parametrize(
        ("script", "status"),
        [(f"echo '{header('550.1', '12.4')}'", 0), (f"echo '{header('470.1', '11.4')}'", 1), ("exit 9", 1)],
    )
    def test_driver_prints_its_cuda_version(self, machine: Machine, script: str, status: int) -> None:
        machine.has_nvidia_smi(script)
        outcome = machine.choose("driver")
        assert (outcome.returncode, outcome.stdout) == (status, "12.4\n" if status == 0 else "")


class TestWithoutTheIndex:
    @pytest.fixture
    def machine(self, tmp_path: Path) -> Machine:
        """PyTorch's index refuses connections."""
        (tmp_path / "programs").mkdir()
        machine = Machine(copy_of_repository(tmp_path), tmp_path / "programs", tmp_path)
        machine.set_constant("PYTORCH_INDEX", f"http://127.0.0.1:{free_port()}/whl")
        return machine

    @pytest.mark.parametrize("wanted", ["auto", "--cpu"])
    def test_pip_chooses_the_build(self, machine: Machine, wanted: str) -> None:
        build, index, reason = machine.chosen(wanted)
        assert (build, index) == ("pip", "-")
        assert "a CUDA build of several GB unless" in reason
        assert "cannot be reached" in reason

    def test_names_the_build_that_fits_the_driver(self, machine: Machine) -> None:
        machine.has_gpu("550.54.15", "12.4", "9.0")
        assert "cu126 fits this machine" in machine.chosen()[2]

    def test_cuda_build_of_pip_does_not_fit_the_driver(self, machine: Machine) -> None:
        assert "but cu129 fits this machine" in error_line(machine.choose("--cuda"))
        machine.has_gpu("550.54.15", "12.4", "9.0")
        assert "TORCH_INDEX=URL" in error_line(machine.choose("--cuda"))

    def test_cuda_build_of_pip_fits_the_driver(self, machine: Machine) -> None:
        machine.has_gpu("580.65.06", "13.0", "9.0")
        assert machine.chosen("--cuda")[0] == "pip"

    def test_index_answers_404(self, machine: Machine, tmp_path: Path) -> None:
        with serving(tmp_path) as port:
            machine.set_constant("PYTORCH_INDEX", f"http://127.0.0.1:{port}")
            assert "HTTP status 404" in machine.chosen()[2]

    def test_index_times_out(self, machine: Machine) -> None:
        machine.set_constant("PROBE_TIMEOUT_S", 1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            machine.set_constant("PYTORCH_INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}")
            assert machine.chosen()[0] == "pip"


# A package named kokoro-trio that requires torch only, with a backend that copies a finished wheel: pip then
# needs no other index.
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "kokoro-trio"
version = "0.1.0"
"""
BACKEND = """
import shutil

def build_editable(folder, settings=None, metadata=None):
    name = "kokoro_trio-0.1.0-py3-none-any.whl"
    shutil.copy("kokoro-trio/" + name, folder)
    return name
"""

# Links the installed pip into new environments, because unpacking it takes seconds.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec "{python}" "$@"
"{python}" -m venv --without-pip "$3" || exit
ln -s "{packages}"/pip "{packages}"/pip-* "$3"/lib/python3*/site-packages
"""


def add_wheel(index: Path, name: str, version: str, requires: Sequence[str] = (), code: str = "") -> None:
    """`code` is the content of its module `version`."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (index / name).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(index / name / f"{distribution}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", "\n".join([*metadata, *(f"Requires-Dist: {each}" for each in requires)])
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{distribution}/__init__.py", "")
        wheel.writestr(f"{distribution}/version.py", code)
        wheel.writestr(f"{info}/RECORD", "")


def add_torch(index: Path, local: str, cuda: str | None, *requires: str) -> None:
    add_wheel(index, "torch", f"{TORCH}{local}", ["filelock", *requires], f"cuda = {cuda!r}")


@pytest.fixture
def setup_machine(machine: Machine) -> Iterator[Machine]:
    """Setup installs stand-ins from two indexes, PyTorch's and the usual one."""
    pytorch, usual = machine.indexes / "whl", machine.indexes / "simple"
    add_torch(pytorch / "cpu", "+cpu", None)
    add_torch(pytorch / "cu126", "+cu126", "12.6", "nvidia-cublas-cu12", "triton")
    add_torch(pytorch / "cu130", "+cu130", "13.0", "nvidia-cublas")
    add_torch(usual, "", "13.0", "nvidia-cublas")
    for name in ("nvidia-cublas-cu12", "nvidia-cublas", "triton", "filelock"):
        add_wheel(usual, name, "1.0")
        # Newer versions that must not be installed from PyTorch's index.
        for build in pytorch.iterdir():
            add_wheel(build, name, "99.0")
    checkout = machine.checkout
    checkout.write("pyproject.toml", PROJECT)
    checkout.write("backend.py", BACKEND)
    add_wheel(checkout.folder, "kokoro-trio", "0.1.0", ["torch"])
    packages = Path(pip.__file__).parent.parent
    python = checkout.write_program("python", PYTHON.format(python=sys.executable, packages=packages))
    checkout.write("constraints.txt", f"torch=={TORCH}\n")
    with serving(machine.indexes) as port:
        environment = {
            "HOME": str(machine.indexes),
            "PATH": f"{machine.programs}:{os.environ['PATH']}",
            "PYTHON": str(python),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple",
        }
        yield evolve(machine, checkout=evolve(checkout, environment=environment))


def set_up(machine: Machine, *arguments: str, **environment: str) -> str:
    """Runs setup without the steps after the packages; returns its output."""
    outcome = try_to_set_up(machine, *arguments, **environment)
    assert outcome.returncode == 0, outcome
    return outcome.stdout


def try_to_set_up(machine: Machine, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = """
    source scripts/setup.sh
    write_env_file() { :; }
    prepare_weights() { :; }
    main "$@"
    """
    checkout = machine.checkout
    return subprocess.run(
        ["bash", "-c", script, "bash", *arguments],
        cwd=checkout.folder,
        env=checkout.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def installed(machine: Machine) -> set[str]:
    """Distributions with versions, except those that every environment has."""
    folders = machine.checkout.folder.glob(".venv/lib/python3*/site-packages/*.dist-info")
    names = {folder.name.removesuffix(".dist-info") for folder in folders}
    return {name for name in names if not name.startswith(("pip-", "setuptools-", "kokoro_trio-"))}


class TestSetup:
    @pytest.fixture
    def machine(self, setup_machine: Machine) -> Machine:
        return setup_machine

    def test_build_is_kept_until_another_is_chosen(self, machine: Machine) -> None:
        says = set_up(machine)
        assert "torch: the CPU build (there is no NVIDIA driver: no nvidia-smi)." in says
        assert installed(machine) == {f"torch-{TORCH}+cpu", "filelock-1.0"}

        machine.has_gpu("550.54.15", "12.4", "9.0")
        says = set_up(machine)
        assert "There is an NVIDIA GPU (CUDA 12.4)" in says
        assert "bash scripts/setup.sh --cuda" in says
        assert "Packages: up to date." in says

        set_up(machine, "--cuda")
        cuda_126 = {f"torch-{TORCH}+cu126", "filelock-1.0", "nvidia_cublas_cu12-1.0", "triton-1.0"}
        assert installed(machine) == cuda_126
        assert set_up(machine) == "Packages: up to date.\n"
        assert installed(machine) == cuda_126

        set_up(machine, "--cpu")
        assert installed(machine) == {f"torch-{TORCH}+cpu", "filelock-1.0"}
        assert set_up(machine) == "Packages: up to date.\n"

        index = f"{machine.checkout.environment['PIP_INDEX_URL']}".replace("/simple", "/whl/cu130")
        set_up(machine, TORCH_INDEX=index.replace("//", "//me:secret@"))
        assert installed(machine) == {f"torch-{TORCH}+cu130", "filelock-1.0", "nvidia_cublas-1.0"}
        assert set_up(machine) == "Packages: up to date.\n"
        marker = (machine.checkout.folder / ".venv" / "installed-torch").read_text()
        assert marker == f"{index} cuda {index} {TORCH}\n"

    def test_new_version_of_torch_keeps_the_choice(self, machine: Machine) -> None:
        machine.has_gpu("550.54.15", "12.4", "9.0")
        set_up(machine, "--cpu")
        add_wheel(machine.indexes / "whl" / "cpu", "torch", "2.14.0+cpu", code="cuda = None")
        machine.checkout.write("constraints.txt", "torch==2.14.0\n")
        set_up(machine)
        assert "torch-2.14.0+cpu" in installed(machine)

    def test_unreachable_index_leaves_the_choice_to_pip(self, machine: Machine) -> None:
        machine.set_constant("PYTORCH_INDEX", f"http://127.0.0.1:{free_port()}")
        assert "cannot be reached" in set_up(machine)
        assert installed(machine) == {f"torch-{TORCH}", "filelock-1.0", "nvidia_cublas-1.0"}
        assert set_up(machine) == "Packages: up to date.\n"

    def test_cuda_fails_if_pip_finds_the_cpu_build_only(self, machine: Machine) -> None:
        index = machine.checkout.environment["PIP_INDEX_URL"].replace("/simple", "/whl/cpu")
        outcome = try_to_set_up(machine, "--cuda", TORCH_INDEX=index)
        assert "pip found the CPU build of torch only" in error_line(outcome)
        assert set_up(machine) == "Packages: up to date.\n"

    def test_failed_change_to_cuda_keeps_the_installed_build(self, machine: Machine) -> None:
        set_up(machine)
        machine.has_gpu("470.82.01", "11.4", "7.5")
        assert "update the driver" in error_line(try_to_set_up(machine, "--cuda"))
        assert set_up(machine) == "Packages: up to date.\n"

    @pytest.mark.parametrize(
        ("flag", "needs"), [("--cpu", "about 3 GB"), ("--cuda", "about 12 GB"), ("--ja", "about 3 GB")]
    )
    def test_too_little_disk_space(self, machine: Machine, flag: str, needs: str) -> None:
        df = machine.programs / "df"
        df.write_text("#!/bin/sh\necho Filesystem\necho /dev/sda 9 9 2000000 9 /\n")
        df.chmod(0o755)
        line = error_line(try_to_set_up(machine, flag))
        assert needs in line
        assert "2000 MB are free" in line
        assert not (machine.checkout.folder / ".venv").exists()


class TestPython:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Checkout:
        """With too new Pythons only on its PATH."""
        checkout = copy_of_repository(tmp_path)
        for name in ("python3.12", "python3.11", "python3", "python"):
            checkout.write_program(f"programs/{name}", python_stand_in("3, 13"))
        path = f"{checkout.folder / 'programs'}:{os.environ['PATH']}"
        return evolve(checkout, environment=checkout.environment | {"PATH": path})

    def test_unsupported_python_names_uv(self, checkout: Checkout) -> None:
        line = error_line(checkout.run("scripts/setup.sh"))
        assert line.startswith("Python 3.11 or 3.12 is needed, and python3 is Python 3.13;")
        assert "uv python install 3.12, then PYTHON=$(uv python find 3.12) bash scripts/setup.sh" in line

    def test_python_of_uv_is_used(self, checkout: Checkout) -> None:
        # Setup then fails to make an environment.
        of_uv = checkout.write_program("uv's python", python_stand_in("3, 12", "-m venv", "found"))
        checkout.write_program("programs/uv", f'#!/bin/sh\n[ "$1 $2" = "python find" ] && echo "{of_uv}"\n')
        outcome = checkout.run("scripts/setup.sh", "--cpu")
        assert "Making a Python environment in .venv (Python 3.12)." in outcome.stdout
        assert f"{of_uv} could not make a virtual environment" in outcome.stderr

    def test_uv_without_a_supported_python(self, checkout: Checkout) -> None:
        checkout.write_program("programs/uv", "#!/bin/sh\necho error: no interpreter found >&2\nexit 2\n")
        assert "Python 3.11 or 3.12 is needed" in error_line(checkout.run("scripts/setup.sh"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestEnvironment:
    @pytest.fixture
    def machine(self, setup_machine: Machine) -> Machine:
        return setup_machine

    @pytest.fixture
    def venv(self, machine: Machine) -> Path:
        return machine.checkout.folder / ".venv"

    @pytest.mark.parametrize("works", [True, False])
    def test_foreign_venv_is_not_touched(self, machine: Machine, venv: Path, works: bool) -> None:
        python = machine.checkout.environment["PYTHON"] if works else sys.executable
        options = [] if works else ["--without-pip"]
        subprocess.run([python, "-m", "venv", venv, *options], check=True)
        before = contents(venv)
        line = error_line(try_to_set_up(machine))
        assert "was not made by scripts/setup.sh" in line
        assert "mv .venv .venv.old" in line
        assert contents(venv) == before

    def test_file_or_broken_link_named_venv_is_not_touched(self, machine: Machine, venv: Path) -> None:
        venv.symlink_to("nowhere")
        assert "was not made by" in error_line(try_to_set_up(machine))
        venv.unlink()
        venv.write_text("mine")
        assert "was not made by" in error_line(try_to_set_up(machine))
        assert venv.read_text() == "mine"

    @pytest.mark.parametrize("is_link", [True, False])
    def test_empty_folder_is_used(self, machine: Machine, venv: Path, tmp_path: Path, is_link: bool) -> None:
        if is_link:
            (tmp_path / "volume").mkdir()
            venv.symlink_to(tmp_path / "volume")
        else:
            venv.mkdir()
        set_up(machine)
        assert f"torch-{TORCH}+cpu" in installed(machine)

    def test_unfinished_venv_is_replaced(self, machine: Machine, venv: Path) -> None:
        set_up(machine)
        (venv / "unfinished").touch()
        (venv / "left over").touch()
        assert "damaged, moved or unfinished; making a new one" in set_up(machine)
        assert f"torch-{TORCH}+cpu" in installed(machine)
        assert not (venv / "left over").exists()
        assert not (venv / "unfinished").exists()

    def test_moved_venv_is_replaced(self, machine: Machine, tmp_path: Path) -> None:
        set_up(machine)
        moved = machine.checkout.folder.rename(tmp_path / "moved")
        there = evolve(machine, checkout=evolve(machine.checkout, folder=moved))
        python = moved / "python"
        there.checkout.environment["PYTHON"] = str(python)
        assert "damaged, moved or unfinished; making a new one" in set_up(there)
        assert f"torch-{TORCH}+cpu" in installed(there)

    def test_interrupted_removal_is_completed(self, machine: Machine, venv: Path) -> None:
        set_up(machine)
        rm = machine.programs / "rm"
        rm.write_text("#!/bin/sh\nexit 1\n")
        rm.chmod(0o755)
        (venv / "pyvenv.cfg").write_text("damaged")
        assert try_to_set_up(machine).returncode != 0
        assert (venv / "unfinished").exists()
        rm.unlink()
        set_up(machine)
        assert f"torch-{TORCH}+cpu" in installed(machine)
