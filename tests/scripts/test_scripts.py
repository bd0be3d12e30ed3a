"""End to end: the shell scripts, in a copy whose folder has a space in its name.

Stand-ins replace the packages and the model, which would take minutes.
"""

import fcntl
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from dotenv import dotenv_values

from kokoro_trio.config import REPOSITORY, Config
from tests.support.checkouts import COPIED, Checkout, copy_of_repository, error_line, python_stand_in
from tests.support.processes import free_port
from tests.support.programs import PATH

SCRIPTS = [*sorted((REPOSITORY / "scripts").glob("*.sh")), REPOSITORY / ".ci" / "run"]

# Becomes ready after it listens, as the real server does. BROKEN and DEAF make it fail.
SERVER = """
import argparse, http.server, json, os, signal, sys, time

if os.environ.get("BROKEN") == "with a new log":
    os.rename("logs/server.log", "logs/server.log.1")
    os.dup2(os.open("logs/server.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
if os.environ.get("BROKEN"):
    print("loading\\nerror: the weights are damaged", file=sys.stderr)
    sys.exit(1)
if os.environ.get("DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
parser = argparse.ArgumentParser()
parser.add_argument("--host", default=os.environ.get("HOST"))
parser.add_argument("--port", type=int, default=os.environ.get("PORT"))
given = parser.parse_args()
ready_at = time.monotonic() + 0.5

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.monotonic() > ready_at and not os.environ.get("NEVER_READY") else 503)
        self.end_headers()
        early_audio = {"early_audio": True, "early_audio_reason": "so, 0.7 dB"}
        state = {"device": "cpu", "device_reason": "", **early_audio}
        self.wfile.write(json.dumps(state | json.loads(os.environ.get("STATE", "{}"))).encode())

http.server.HTTPServer((given.host, given.port), Handler).serve_forever()
"""
CLIENT = """
import sys
print("client", *sys.argv[1:])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copy_of_repository(tmp_path)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def installed(checkout: Checkout, port: int) -> Iterator[Checkout]:
    """A checkout after setup, with stand-ins for the server and the client."""
    checkout.write_program(".venv/bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    checkout.write("scripts/setup.sh", "")
    checkout.write("scripts/client.py", CLIENT)
    checkout.write("kokoro_trio/__main__.py", SERVER)
    for name in ("__init__.py", "config.py", "errors.py", "installation.py"):
        shutil.copy(REPOSITORY / "kokoro_trio" / name, checkout.folder / "kokoro_trio" / name)
    (checkout.folder / "logs").mkdir()
    environment = checkout.environment | {"HOST": "127.0.0.1", "PORT": str(port), "SHUTDOWN_GRACE": "0"}
    installed = evolve(checkout, environment=environment)
    yield installed
    installed.run("scripts/stop.sh")


def left_by(checkout: Checkout) -> set[str]:
    return {file.name for file in checkout.folder.iterdir()} - {"scripts", ".ci", *COPIED}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck() -> None:
    subprocess.run([Path(sys.executable).with_name("shellcheck"), "-x", *SCRIPTS], check=True)


def test_ci_requires_the_programs_that_it_installs(checkout: Checkout) -> None:
    checkout.write("scripts/test.sh", 'echo "REQUIRE_PROGRAMS=$REQUIRE_PROGRAMS"')
    for program in ("chromium", "haproxy", "nginx", "systemd-analyze"):
        checkout.write_program(f"bin/{program}", "")
    path = f"{checkout.folder / 'bin'}:{checkout.environment['PATH']}"
    ran = subprocess.run(
        [checkout.folder / ".ci" / "run"], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert (ran.stdout, ran.stderr) == ("REQUIRE_PROGRAMS=1\n", "")


def test_at_most_one_test_process_a_core(checkout: Checkout) -> None:
    checkout.write_program(".venv/bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert 1 <= int(checkout.source("scripts/test.sh", "n_processes")) <= (os.cpu_count() or 1)


def test_slow_tests_run_serially_after_the_parallel_ones(checkout: Checkout) -> None:
    checkout.write("scripts/setup.sh", "")
    checkout.write_program(".venv/bin/lint-imports", "#!/bin/sh\n")
    python = '#!/bin/sh\n[ "$1" = - ] && echo 3 && exit\nshift\necho "$*"\n[ "$*" != "$FAILS" ]\n'
    checkout.write_program(".venv/bin/python", python)
    parallel, slow = "pytest -m not slow -n 3 --dist loadfile", "pytest -m slow"
    passed = checkout.run("scripts/test.sh")
    assert passed.returncode == 0
    assert [line for line in passed.stdout.splitlines() if line.startswith("pytest")] == [parallel, slow]
    assert passed.stdout.splitlines()[-1] == slow
    assert "parallel tests failed" in error_line(checkout.run("scripts/test.sh", FAILS=parallel))
    assert checkout.run("scripts/test.sh", FAILS=slow).returncode == 1


@pytest.mark.parametrize("script", ["setup", "start", "serve_replicas"])
def test_help_prints_the_comment_at_the_head(checkout: Checkout, script: str) -> None:
    outcome = checkout.run(f"scripts/{script}.sh", "--help")
    assert outcome.returncode == 0
    assert f"bash scripts/{script}.sh" in outcome.stdout
    assert "set -euo" not in outcome.stdout
    assert left_by(checkout) == set()


class TestEnvFile:
    def written(self, checkout: Checkout) -> str:
        self.write(checkout)
        return (checkout.folder / ".env").read_text()

    def write(self, checkout: Checkout) -> str:
        """Returns its output."""
        command = f"mkdir -p logs && write_env_file {shlex.quote(sys.executable)}"
        return checkout.source("scripts/setup.sh", command)

    def test_lists_every_knob_with_its_default(self, checkout: Checkout) -> None:
        shown = self.written(checkout).replace("\n#", "\n")
        settings = {name: value for name, value in _assignments(shown).items() if name.isupper()}
        assert Config.of(settings) == Config.of({"API_KEY": settings["API_KEY"]})
        # The default of LOG_FOLDER depends on the installation.
        assert _knobs_in(REPOSITORY / "kokoro_trio" / "config.py") - {"LOG_FOLDER"} == set(settings)

    def test_sets_only_the_api_key(self, checkout: Checkout) -> None:
        assert set(_assignments(self.written(checkout))) == {"API_KEY"}

    def test_each_file_has_a_new_api_key(self, checkout: Checkout) -> None:
        keys = set()
        for _ in range(3):
            said = self.write(checkout)
            key = _assignments((checkout.folder / ".env").read_text())["API_KEY"]
            assert re.fullmatch(r"[0-9a-f]{32}", key)
            assert said == f"Wrote .env with the default settings and a new API key: {key}\n"
            assert self.write(checkout) == ""
            keys.add(key)
            (checkout.folder / ".env").unlink()
        assert len(keys) == 3

    def test_programs_of_the_readme_read_the_api_key_from_it(self, checkout: Checkout) -> None:
        [command] = re.findall(
            r"^export KOKORO_API_KEY=.*$", (REPOSITORY / "README.md").read_text(), re.MULTILINE
        )
        written = self.written(checkout)
        key = subprocess.check_output(
            ["bash", "-c", f"{command}; printenv KOKORO_API_KEY"], cwd=checkout.folder, text=True
        )
        assert _assignments(written) == {"API_KEY": key.strip()}

    def test_is_private_and_not_overwritten(self, checkout: Checkout) -> None:
        self.written(checkout)
        env_file = checkout.folder / ".env"
        assert env_file.stat().st_mode & 0o077 == 0
        env_file.write_text("API_KEY=mine\n")
        assert self.written(checkout) == "API_KEY=mine\n"


def _assignments(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line.partition(" ")[0]]
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO("\n".join(lines))).items()}


def _knobs_in(file: Path) -> set[str]:
    return set(re.findall(r'knobs\.\w+\(\s*"([A-Z0-9_]+)"', file.read_text()))


class TestSetup:
    def test_missing_python(self, checkout: Checkout) -> None:
        outcome = checkout.run("scripts/setup.sh", PYTHON="no-such-python")
        assert "PYTHON=no-such-python is missing; Python 3.11 or 3.12 is needed" in error_line(outcome)
        assert left_by(checkout) == set()

    def test_too_new_python(self, checkout: Checkout) -> None:
        too_new = checkout.write_program("python-stand-in", python_stand_in("3, 14"))
        outcome = checkout.run("scripts/setup.sh", PYTHON=str(too_new))
        assert f"PYTHON={too_new} is Python 3.14; Python 3.11 or 3.12 is needed" in error_line(outcome)

    def test_python_without_venv(self, checkout: Checkout) -> None:
        bare = checkout.write_program("python-stand-in", python_stand_in("3, 12", "import venv"))
        outcome = checkout.run("scripts/setup.sh", PYTHON=str(bare))
        assert "apt-get install python3.12-venv" in error_line(outcome)

    @pytest.mark.parametrize(
        ("arguments", "extras"),
        [
            ("", "registry"),
            ("--test", "registry,test"),
            ("--bench --peers", "registry,bench,peers"),
            ("--ja --zh", "registry,ja,zh"),
        ],
    )
    def test_extras(self, checkout: Checkout, arguments: str, extras: str) -> None:
        stand_ins = "find_python hold_lock choose_torch make_venv mark_torch write_env_file prepare_weights"
        commands = f"""
            for name in {stand_ins}; do eval "$name() {{ :; }}"; done
            install_packages() {{ say "installs $*"; }}
            main {arguments}
        """
        assert checkout.source("scripts/setup.sh", commands) == f"installs {extras}\n"
        project = tomllib.loads((checkout.folder / "pyproject.toml").read_text())["project"]
        assert set(extras.split(",")) <= set(project["optional-dependencies"])

    def test_later_runs_add_extras(self, checkout: Checkout) -> None:
        """A stand-in for pip records its last argument."""
        python = '#!/bin/sh\nfor last; do :; done\n[ "$2" != pip ] || echo "$last" >>asked\n'
        checkout.write_program(".venv/bin/python", python)
        checkout.write("logs/setup.log", "")
        for extras in ("registry", "registry,ja", "registry", "registry,ja", "registry,ja,zh", "registry,zh"):
            checkout.source("scripts/setup.sh", f"install_packages {extras}")
        asked = (checkout.folder / "asked").read_text().split()
        assert asked == [".[registry]", ".[registry,ja]", ".[registry,ja,zh]"]

    @pytest.mark.parametrize(
        ("extras", "asked"),
        [
            ("registry,ja", ""),
            ("registry,test", " --source registry --folder weights-test --keep-source --reuse weights"),
        ],
    )
    def test_tests_have_their_own_weights(self, checkout: Checkout, extras: str, asked: str) -> None:
        checkout.write_program(".venv/bin/python", '#!/bin/sh\necho "$@"\n')
        outcome = checkout.source("scripts/setup.sh", f"prepare_weights {extras}")
        assert outcome == f"-m kokoro_trio.model.weights{asked}\n"

    def test_unknown_argument(self, checkout: Checkout) -> None:
        assert "unknown argument: --tset" in error_line(checkout.run("scripts/setup.sh", "--tset"))

    def test_second_setup_at_the_same_time_fails(self, checkout: Checkout) -> None:
        with checkout.write("logs/setup.lock", "4711\n").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            outcome = checkout.run("scripts/setup.sh", PYTHON=sys.executable)
        assert "another scripts/setup.sh is running here (pid 4711)" in error_line(outcome)
        assert left_by(checkout) == {"logs"}

    def test_failed_installation_shows_the_end_of_the_log(self, checkout: Checkout) -> None:
        broken = checkout.write_program(
            "python-stand-in", python_stand_in("3, 12", "-m venv", "no room here")
        )
        outcome = checkout.run("scripts/setup.sh", PYTHON=str(broken))
        *log, last = outcome.stderr.splitlines()
        assert outcome.returncode == 1
        assert log == ["    no room here"]
        assert last.startswith("error: ")
        assert "logs/setup.log" in last


class TestStart:
    def test_start_waits_until_ready_and_speaks(self, installed: Checkout, port: int) -> None:
        outcome = installed.run("scripts/start.sh")
        assert outcome.returncode == 0, outcome.stderr
        assert f"client --host 127.0.0.1 --port {port} --text" in outcome.stdout
        assert "--out hello.wav" in outcome.stdout
        assert f"Listening on 127.0.0.1:{port} (this machine only).\n" in outcome.stdout
        assert f"open http://127.0.0.1:{port}/\n" in outcome.stdout
        assert str(installed.folder) in outcome.stdout
        os.kill(installed.server_pid(), 0)

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ({}, ["Device: cpu.", "Early audio: on, so, 0.7 dB."]),
            (
                {"device_reason": "the driver is too old; update it"},
                ["Device: cpu, although this machine has a GPU: the driver is too old; update it."],
            ),
            ({"early_audio": False, "early_audio_reason": "not yet"}, ["Early audio: off, not yet."]),
        ],
    )
    def test_prints_device_and_early_audio(
        self, state: dict[str, object], said: list[str], installed: Checkout
    ) -> None:
        for _ in range(2):  # The second start finds the running server.
            outcome = installed.run("scripts/start.sh", STATE=json.dumps(state))
            assert outcome.returncode == 0, outcome.stderr
            assert set(said) <= set(outcome.stdout.splitlines())

    def test_passes_arguments_to_server_and_client(self, installed: Checkout, port: int) -> None:
        outcome = installed.run("scripts/start.sh", "--port", str(port), PORT="1")
        assert outcome.returncode == 0, outcome.stderr
        assert f"--port {port} --text" in outcome.stdout

    @pytest.mark.parametrize(
        ("host", "address", "client"),
        [
            ("0.0.0.0", "0.0.0.0:{} (all interfaces)", "127.0.0.1"),
            ("localhost", "localhost:{} (this machine only)", "localhost"),
            ("127.0.0.1", "127.0.0.1:{} (this machine only)", "127.0.0.1"),
        ],
    )
    def test_prints_the_address_and_who_can_reach_it(
        self, host: str, address: str, client: str, installed: Checkout, port: int
    ) -> None:
        for _ in range(2):  # The second start finds the running server.
            outcome = installed.run("scripts/start.sh", HOST=host, API_KEY="a+b c,second")
            assert (outcome.returncode, outcome.stderr) == (0, "")
            assert f"Listening on {address.format(port)}.\n" in outcome.stdout
            assert f"http://{client}:{port}/#key=a%2Bb%20c\n" in outcome.stdout
        for log in (installed.folder / "logs").iterdir():
            assert "a+b" not in log.read_text()
            assert "a%2Bb" not in log.read_text()

    @pytest.mark.parametrize(
        ("host", "key", "n_warnings"),
        [("0.0.0.0", "dev-key", 1), ("0.0.0.0", "mine,dev-key", 1), ("127.0.0.1", "dev-key", 0)],
    )
    def test_warns_of_a_publicly_known_api_key(
        self, host: str, key: str, n_warnings: int, installed: Checkout
    ) -> None:
        for _ in range(2):
            outcome = installed.run("scripts/start.sh", HOST=host, API_KEY=key)
            assert outcome.returncode == 0, outcome.stderr
            assert outcome.stderr.count("warning: ") == n_warnings
            assert ("dev-key" in outcome.stderr) == bool(n_warnings)

    def test_second_start_only_speaks(self, installed: Checkout) -> None:
        installed.run("scripts/start.sh")
        pid = installed.server_pid()
        outcome = installed.run("scripts/start.sh")
        assert outcome.returncode == 0, outcome.stderr
        assert f"already runs (pid {pid}" in outcome.stdout
        assert "client --host" in outcome.stdout
        assert installed.server_pid() == pid

    def test_second_start_rejects_arguments(self, installed: Checkout) -> None:
        installed.run("scripts/start.sh")
        assert "scripts/stop.sh" in error_line(installed.run("scripts/start.sh", "--port", "1"))

    def test_port_in_use_is_one_line_of_error(self, installed: Checkout, port: int) -> None:
        with socket.create_server(("127.0.0.1", port)):
            outcome = installed.run("scripts/start.sh")
        assert f"port {port} is in use by another program" in error_line(outcome)
        assert not (installed.folder / "logs" / "server.pid").exists()

    def test_bad_knob_is_one_line_of_error(self, installed: Checkout) -> None:
        outcome = installed.run("scripts/start.sh", MAX_CONCURRENT_JOBS="many")
        assert "MAX_CONCURRENT_JOBS='many' is not usable" in error_line(outcome)

    def test_shows_the_error_of_a_server_that_ends_at_once(self, installed: Checkout) -> None:
        outcome = installed.run("scripts/start.sh", BROKEN="1")
        assert error_line(outcome) == "the weights are damaged"
        assert not (installed.folder / "logs" / "server.pid").exists()

    def test_shows_the_error_in_a_rotated_log(self, installed: Checkout) -> None:
        installed.write("logs/server.log", "of another day\n" * 100)
        outcome = installed.run("scripts/start.sh", BROKEN="with a new log")
        assert error_line(outcome) == "the weights are damaged"

    def test_server_that_is_not_ready_in_time_is_stopped(self, installed: Checkout) -> None:
        outcome = installed.run("scripts/start.sh", NEVER_READY="1", START_TIMEOUT_S="1")
        assert "was not ready after 1 s" in error_line(outcome)
        assert not (installed.folder / "logs" / "server.pid").exists()


class TestStop:
    def test_ends_the_server(self, installed: Checkout) -> None:
        installed.run("scripts/start.sh")
        pid = installed.server_pid()
        outcome = installed.run("scripts/stop.sh")
        assert outcome.returncode == 0, outcome.stderr
        assert f"has ended (pid {pid})" in outcome.stdout
        assert not (installed.folder / "logs" / "server.pid").exists()
        assert "does not run" in installed.run("scripts/stop.sh").stdout

    def test_stop_without_a_server_succeeds(self, checkout: Checkout) -> None:
        outcome = checkout.run("scripts/stop.sh")
        assert outcome.returncode == 0
        assert outcome.stdout == "The server does not run.\n"
        assert outcome.stderr == ""

    def test_does_not_kill_another_process_with_the_pid(self, checkout: Checkout) -> None:
        with subprocess.Popen(["sleep", "60"]) as somebody:
            pid_file = checkout.write("logs/server.pid", f"{somebody.pid}\n")
            outcome = checkout.run("scripts/stop.sh")
            assert outcome.stdout == "The server does not run.\n"
            assert somebody.poll() is None
            assert not pid_file.exists()
            somebody.kill()

    def test_kills_a_server_that_ignores_sigterm(self, installed: Checkout) -> None:
        stop = installed.write("scripts/stop.sh", "")
        stop.write_text((REPOSITORY / "scripts" / "stop.sh").read_text().replace("SPARE_S=10", "SPARE_S=1"))
        installed.run("scripts/start.sh", DEAF="1")
        outcome = installed.run("scripts/stop.sh")
        assert "was killed" in error_line(outcome)


@pytest.mark.needs("haproxy")
class TestServeReplicas:
    """tests/scripts/test_replicas.py tests it while it serves."""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["two"], "unknown argument: two"),
            (["0"], "unknown argument: 0"),
            (["2", "--port"], "--port needs a number"),
            (["--restart"], "scripts/serve_replicas.sh does not run here"),
        ],
    )
    def test_bad_arguments(self, installed: Checkout, arguments: list[str], says: str) -> None:
        assert says in error_line(installed.run("scripts/serve_replicas.sh", *arguments))

    def test_warns_of_a_publicly_known_api_key(self, installed: Checkout, port: int) -> None:
        """The replicas do not warn, because they listen on loopback addresses."""
        for key, n_warnings in (("dev-key", 1), ("mine", 0)):
            command = "source scripts/serve_replicas.sh; free_address 2"
            ports = subprocess.run(
                ["bash", "-c", command],
                cwd=installed.folder,
                env=installed.environment | {"HOST": "0.0.0.0", "API_KEY": key},
                capture_output=True,
                text=True,
                check=True,
            )
            assert ports.stdout.startswith(f"0.0.0.0 {port} ")
            assert ports.stderr.count("warning: other machines can reach this server") == n_warnings

    @pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU")
    def test_number_of_replicas_is_needed_without_a_gpu(self, installed: Checkout) -> None:
        assert "give the number of replicas" in error_line(installed.run("scripts/serve_replicas.sh"))

    def test_missing_packages_name_setup(self, checkout: Checkout) -> None:
        assert "bash scripts/setup.sh" in error_line(checkout.run("scripts/serve_replicas.sh", "2"))

    def test_port_of_a_replica_in_use(self, installed: Checkout, port: int) -> None:
        with socket.create_server(("127.0.0.1", port + 2)):
            outcome = installed.run("scripts/serve_replicas.sh", "2")
        assert f"cannot listen on 127.0.0.1 port {port + 2}" in error_line(outcome)

    def test_haproxy_accepts_its_configuration(self) -> None:
        """The file without replicas, as in the repository."""
        checked = subprocess.run(
            ["haproxy", "-c", "-f", str(REPOSITORY / "scripts" / "haproxy.cfg")],
            env={"PATH": PATH, "FRONT_ADDRESS": "*:8000", "STATS_ADDRESS": "127.0.0.1:8404"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert "WARNING" not in checked.stderr


@pytest.mark.parametrize(
    ("script", "waits"),
    [
        ("start", "wait_until_ready $$"),
        ("serve_replicas", "wait_until_serving 1 0"),
        ("serve_replicas", "pause 0.001"),
        ("start", "ended_within 1 $$"),
    ],
)
def test_signal_while_waiting_runs_the_trap(checkout: Checkout, script: str, waits: str) -> None:
    """bash 5.2 ends instead, if the signal arrives while it parses $( )."""
    checkout.write("logs/server.address", "127.0.0.1 8000\n")
    # In a file, because this fault does not occur with bash -c.
    program = checkout.write(
        "waiting.sh",
        f"""
        source scripts/{script}.sh
        end() {{ exit 7; }}
        is_ready() {{ false; }}
        is_in_use() {{ false; }}
        sleep() {{ command sleep 0.001; }}
        wait_on() {{ while true; do {waits} || true; done; }}
        trap end TERM
        say waiting
        wait_on
        """,
    )
    ends = set()
    for number in range(60):
        with subprocess.Popen(
            ["bash", program], cwd=checkout.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as waiting:
            assert waiting.stdout is not None
            waiting.stdout.readline()
            time.sleep(number / 4_000)
            waiting.terminate()
            _, complaints = waiting.communicate(timeout=10)
        ends.add((waiting.returncode, complaints))
    assert ends == {(7, b"")}


class TestTailBgLogs:
    def test_missing_log(self, checkout: Checkout) -> None:
        assert "there is no log yet" in error_line(checkout.run("scripts/tail_bg_logs.sh"))

    def test_follows_the_log(self, checkout: Checkout) -> None:
        checkout.write("logs/server.log", "listening\n")
        command = ["bash", str(checkout.folder / "scripts" / "tail_bg_logs.sh")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            assert tail.stdout.readline() == "listening\n"
            tail.kill()

    def test_follows_a_rotated_log(self, checkout: Checkout) -> None:
        log = checkout.write("logs/server.log", "listening\n")
        command = ["bash", str(checkout.folder / "scripts" / "tail_bg_logs.sh")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
            assert tail.stdout is not None
            assert tail.stdout.readline() == "listening\n"
            log.rename(log.with_name("server.log.1"))
            checkout.write("logs/server.log", "still here\n")
            assert tail.stdout.readline() == "still here\n"
            tail.kill()


def test_interrupted_start_leaves_no_server(installed: Checkout) -> None:
    command = ["bash", str(installed.folder / "scripts" / "start.sh")]
    with subprocess.Popen(
        command, env=installed.environment | {"NEVER_READY": "1"}, stdout=subprocess.DEVNULL
    ) as start:
        pid_file = installed.folder / "logs" / "server.address"
        while not pid_file.exists():
            time.sleep(0.05)
        pid = installed.server_pid()
        start.terminate()
        assert start.wait(timeout=10) == 130
    assert not runs(pid)
    assert not pid_file.exists()


def runs(pid: int) -> bool:
    """A zombie has an empty command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
