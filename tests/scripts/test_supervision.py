"""What supervises the server: the Kubernetes manifests, the systemd unit and the container file.

Pure, but for the last ones: a server that may write nowhere but where those files let it.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kokoro_trio import __version__
from kokoro_trio.config import REPOSITORY, Config
from kokoro_trio.server.listener import HANG_UP_S
from tests.support.processes import Server, running, start

SCRIPTS = REPOSITORY / "scripts"
KUBERNETES = SCRIPTS / "kubernetes"
KUBERNETES_VERSIONS = ("1.29", "1.33")
UNIT = SCRIPTS / "kokoro-trio.service"
GRACE_S = Config.of({"API_KEY": "k"}).listen.shutdown_grace_s
RESOURCES = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]


def manifest(name: str) -> dict[str, Any]:
    [document] = yaml.safe_load_all((KUBERNETES / name).read_text())
    assert isinstance(document, dict)
    return document


class TestKubernetes:
    @pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
    @pytest.mark.parametrize("name", RESOURCES)
    def test_keeps_to_the_schema(self, name: str, version: str) -> None:
        kubernetes_validate.validate(manifest(name), version, strict=True)

    def test_the_schema_finds_a_mistake(self) -> None:
        deployment = manifest("deployment.yaml")
        deployment["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[0], strict=True)

    def test_every_manifest_is_listed(self) -> None:
        others = {"kustomization.yaml", "prometheus-adapter.yaml"}
        assert {path.name for path in KUBERNETES.iterdir()} - others == set(RESOURCES)

    def test_all_mean_the_same_pods(self) -> None:
        deployment, pods = manifest("deployment.yaml"), {"app.kubernetes.io/name": "kokoro-trio"}
        assert deployment["spec"]["selector"]["matchLabels"] == pods
        assert deployment["spec"]["template"]["metadata"]["labels"] == pods
        assert manifest("service.yaml")["spec"]["selector"] == pods
        assert manifest("disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == pods
        target = manifest("autoscaler.yaml")["spec"]["scaleTargetRef"]
        assert target == {
            "apiVersion": deployment["apiVersion"],
            "kind": deployment["kind"],
            "name": deployment["metadata"]["name"],
        }

    def test_a_pod_has_time_to_drain(self) -> None:
        pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
        [server] = pod["containers"]
        settings = {each["name"]: each.get("value", "k") for each in server["env"]}
        grace_s = Config.of(settings).listen.shutdown_grace_s
        _, pre_stop_s = server["lifecycle"]["preStop"]["exec"]["command"]
        probe = server["readinessProbe"]
        assert float(pre_stop_s) > probe["periodSeconds"] * probe["failureThreshold"]
        assert pod["terminationGracePeriodSeconds"] > float(pre_stop_s) + grace_s + HANG_UP_S

    def test_metrics_are_scraped_at_a_port_that_the_service_does_not_have(self) -> None:
        template = manifest("deployment.yaml")["spec"]["template"]
        [server] = template["spec"]["containers"]
        settings = {each["name"]: each.get("value", "k") for each in server["env"]}
        port = Config.of(settings).listen.metrics_port
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
        assert {"name": "metrics", "containerPort": port} in server["ports"]
        [service] = manifest("service.yaml")["spec"]["ports"]
        assert service["targetPort"] == "speech"

    def test_what_it_scales_by_is_made_of_what_the_server_tells(self) -> None:
        [metric] = manifest("autoscaler.yaml")["spec"]["metrics"]
        [rule] = manifest("prometheus-adapter.yaml")["rules"]["custom"]
        assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
        told = (REPOSITORY / "kokoro_trio" / "telemetry" / "prometheus.py").read_text()
        series = set(re.findall(r"kokoro_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
        assert series == {"kokoro_active", "kokoro_queued"}
        assert all(f'"{name}"' in told for name in series)


class TestUnit:
    def test_gives_the_server_time_to_drain(self) -> None:
        stop_s = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
        assert stop_s is not None
        assert int(stop_s[1]) > GRACE_S + HANG_UP_S

    @pytest.mark.needs("systemd-analyze")
    def test_systemd_takes_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "checkout"
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)
        unit = tmp_path / UNIT.name
        unit.write_text(UNIT.read_text().replace("/opt/kokoro_trio", str(folder)))
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        about_the_unit = [line for line in verified.stderr.splitlines() if UNIT.name in line]
        assert (verified.returncode, about_the_unit) == (0, [])


@pytest.mark.parametrize("is_abstract", [False, True])
@pytest.mark.slow
def test_systemd_is_told(tmp_path: Path, is_abstract: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tones instead of the model, and the test in systemd's place."""
    name = f"kokoro-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if is_abstract else name)
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        with running(tmp_path, "tests.support.tones") as server:
            heard = [systemd.recv(100) for _ in range(8)]
            assert set(heard) == {b"READY=1", b"WATCHDOG=1"}
            assert heard.count(b"READY=1") == 1
            server.process.send_signal(signal.SIGTERM)
            while systemd.recv(100) != b"STOPPING=1":
                pass


def instructions() -> list[list[str]]:
    """Those of the container file, each in words."""
    joined = (SCRIPTS / "Containerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line and not line.startswith("#")]


class TestContainer:
    def test_runs_as_a_user_that_can_be_seen_not_to_be_root(self) -> None:
        users = [words[1] for words in instructions() if words[0] == "USER"]
        assert users == ["10001:10001"]
        security = manifest("deployment.yaml")["spec"]["template"]["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)

    def test_the_volumes_are_what_the_manifest_mounts(self) -> None:
        [volumes] = [words[1:] for words in instructions() if words[0] == "VOLUME"]
        [server] = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"]
        mounted = {mount["mountPath"] for mount in server["volumeMounts"]}
        assert {volume.strip("[],") for volume in volumes} | {"/tmp"} == mounted

    def test_the_image_has_the_version_of_the_package(self) -> None:
        [server] = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"]
        named = re.findall(r"kokoro-trio:(\S+)", (SCRIPTS / "Containerfile").read_text())
        assert {*named, server["image"].removeprefix("kokoro-trio:")} == {__version__}

    def test_the_health_check_is_there(self) -> None:
        [check] = [words for words in instructions() if words[0] == "HEALTHCHECK"]
        assert (REPOSITORY / check[-1].strip("]")).is_file()


# As the unit and the container have it: everything is read-only but logs/, custom_voices/ and a temporary
# folder in memory, and the user is nobody. All of it is in a mount namespace of its own. The one capability
# lets nobody read the checkout and Python where only their owner may; access(2) heeds it by that securebit.
CONFINED = """
set -e
mount --make-rprivate /
mkdir "$WRITABLE/tmp"
mount -t tmpfs -o mode=1777 none "$WRITABLE/tmp"
for folder in "$LOG_FOLDER" "$CUSTOM_VOICES_FOLDER"; do
    mkdir -p "$folder"
    chown 65534:65534 "$folder"
    mount --bind "$folder" "$folder"
done
mount -o remount,bind,ro /
export HOME=/nonexistent TMPDIR="$WRITABLE/tmp"
reads=-all,+dac_read_search
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --securebits=+no_setuid_fixup \\
    --inh-caps=$reads --ambient-caps=$reads --bounding-set=$reads "$@"
"""
CAP_DAC_READ_SEARCH = 1 << 2


@pytest.fixture
def confined(open_tmp_path: Path) -> Iterator[Server]:
    logs = open_tmp_path / "logs"
    logs.mkdir()
    server = start(
        logs,
        within=["unshare", "-m", "sh", "-c", CONFINED, "sh"],
        WRITABLE=str(open_tmp_path),
        PYTHONDONTWRITEBYTECODE="1",
    )
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.needs("unshare")
@pytest.mark.model
def test_it_speaks_where_hardly_anything_can_be_written(confined: Server) -> None:
    confined.wait_until_ready()
    status = Path(f"/proc/{confined.process.pid}/status").read_text()
    assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
    assert re.search(rf"^CapEff:\t{CAP_DAC_READ_SEARCH:016x}$", status, re.MULTILINE)
    check = [
        sys.executable,
        str(SCRIPTS / "healthcheck.py"),
        "--host",
        "127.0.0.1",
        "--port",
        str(confined.port),
    ]
    subprocess.run(check, check=True)
    audio, end = confined.speak("Hello there.")
    assert end["type"] == "done"
    assert len(audio) > 12_000
    confined.process.send_signal(signal.SIGTERM)
    assert confined.process.wait(timeout=30) == 0
    assert (confined.logs / "metrics.log").read_text().count("\n") == 1
