"""End to end: the wheel, installed in an empty environment outside of the checkout."""

import os
import shutil
import subprocess
import sys
import venv
import wave
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from attrs import frozen

from kokoro_trio import __version__
from kokoro_trio.config import REPOSITORY
from tests.support.environment import TEST_WEIGHTS
from tests.support.packages import required_by
from tests.support.processes import KEY, Server, free_port, running

SOURCES = ("kokoro_trio", "bench", "pyproject.toml", "setup.py", "README.md", "LICENSE")
NOT_PACKAGED = {"__pycache__", "research", "results", ".md", ".png"}


@frozen
class Installation:
    """A virtual environment with the wheel, one extra, and the packages that these require."""

    folder: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program(command[0]), *command[1:]],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def environment(self, **settings: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | settings


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, folder / name)
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder))
    pip("wheel", *options, str(folder))
    return next(folder.glob("*.whl"))


def pip(*arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def install(wheel: Path, folder: Path, extra: str = "") -> Installation:
    """The required packages are links to those of the tests, which spares a download of gigabytes."""
    venv.create(folder, symlinks=True)
    pip("--python", str(folder / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    [packages] = folder.glob("lib/python*/site-packages")
    [installed] = distributions(name="kokoro-trio", path=[str(packages)])
    for distribution in required_by(installed, [extra]):
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(str(distribution.locate_file(name)))
    return Installation(folder)


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(wheel, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(wheel, tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("tones"), "tests.support.tones") as server:
        yield server


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    expected = {
        f"{prefix}{path.relative_to(REPOSITORY).as_posix()}"
        for prefix, package in (("", "kokoro_trio"), ("kokoro_trio/", "bench"))
        for path in (REPOSITORY / package).rglob("*.*")
        if NOT_PACKAGED.isdisjoint(path.parts) and path.suffix not in NOT_PACKAGED
    }
    assert {"kokoro_trio/py.typed", "kokoro_trio/server/page/index.html"} <= expected
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


class TestClient:
    def test_imports_without_torch_and_pyav(self, client: Installation) -> None:
        for missing in ("torch", "av"):
            assert f"No module named '{missing}'" in client.run("python", "-c", f"import {missing}").stderr
        imported = client.run("python", "-c", "import kokoro_trio.client, kokoro_trio.reconnecting")
        assert (imported.returncode, imported.stderr) == (0, "")

    def test_speaks_with_a_running_server(self, client: Installation, tones: Server, tmp_path: Path) -> None:
        out = tmp_path / "hello.wav"
        options = ("--port", str(tones.port), "--api-key", KEY, "--text", "Hello there.", "--out", str(out))
        spoken = client.run("kokoro-trio", "speak", *options)
        assert (spoken.returncode, spoken.stderr) == (0, "")
        with wave.open(str(out)) as file:
            assert file.getnframes() > 2400

    def test_opus_names_the_extra_that_it_needs(self, client: Installation, tones: Server) -> None:
        options = ("--port", str(tones.port), "--api-key", KEY, "--text", "Hello there.", "--format", "opus")
        spoken = client.run("kokoro-trio", "speak", *options)
        assert spoken.returncode == 1
        [line] = spoken.stderr.splitlines()
        assert line.endswith('pip install "kokoro-trio[opus]"')

    def test_version(self, client: Installation) -> None:
        assert client.run("kokoro-trio", "--version").stdout == f"kokoro-trio {__version__}\n"

    @pytest.mark.parametrize(
        ("command", "extra"), [("serve", "server"), ("weights", "server"), ("voices list", "server")]
    )
    def test_a_command_names_the_extra_that_it_needs(
        self, client: Installation, command: str, extra: str
    ) -> None:
        ended = client.run("kokoro-trio", *command.split())
        assert ended.returncode == 1
        [line] = ended.stderr.splitlines()
        assert line.endswith(f' is not installed; run: pip install "kokoro-trio[{extra}]"')


def test_the_pipecat_service_needs_its_extra_only(wheel: Path, tmp_path: Path) -> None:
    bot = install(wheel, tmp_path / "bot", "pipecat")
    imported = bot.run("python", "-c", "from kokoro_trio.pipecat import KokoroTrioTTSService")
    assert imported.returncode == 0, imported.stderr


class TestServer:
    @pytest.mark.parametrize(
        ("command", "home", "data"),
        [("weights --check", "", ".local/share/kokoro-trio"), ("serve --host 127.0.0.1", "data", "data")],
    )
    def test_missing_weights_are_looked_for_in_the_data_folder(
        self, server: Installation, command: str, home: str, data: str
    ) -> None:
        ended = server.run("kokoro-trio", *command.split(), KOKORO_HOME=home)
        assert ended.returncode == 1
        problem = f"{server.folder / data / 'weights'}: there are no prepared weights"
        assert ended.stderr.splitlines()[-1] == f"error: {problem}; to fix it, run: kokoro-trio weights"

    @pytest.mark.model
    def test_serves_with_the_data_folder(self, server: Installation, tmp_path: Path) -> None:
        port = free_port()
        (tmp_path / "weights").symlink_to(TEST_WEIGHTS)
        (tmp_path / ".env").write_text(f"API_KEY={KEY}\nHOST=127.0.0.1\nPORT={port}\n")
        checked = server.run("kokoro-trio", "weights", "--check", KOKORO_HOME=str(tmp_path))
        assert f"{tmp_path / 'weights'} holds Kokoro-82M" in checked.stdout
        (tmp_path / "logs").mkdir()
        with (tmp_path / "logs" / "server.log").open("w") as log:
            process = subprocess.Popen(
                [server.program("kokoro-trio"), "serve"],
                env=server.environment(KOKORO_HOME=str(tmp_path)),
                cwd=tmp_path,
                stderr=log,
                text=True,
            )
        try:
            serving = Server(process, port, tmp_path / "logs")
            serving.wait_until_ready()
            _, end = serving.speak("Hello there.")
            assert end["type"] == "done"
        finally:
            process.terminate()
            process.wait()
        summary = server.run("kokoro-trio", "metrics", KOKORO_HOME=str(tmp_path))
        assert (summary.returncode, "no requests" in summary.stdout) == (0, False)

    def test_bench_measures_a_running_server(self, server: Installation, tones: Server) -> None:
        options = ("--port", str(tones.port), "--api-key", KEY, "--n", "2", "--concurrency", "1")
        measured = server.run("kokoro-trio", "bench", *options)
        assert (measured.returncode, measured.stderr) == (0, "")
        assert "TTFA" in measured.stdout
