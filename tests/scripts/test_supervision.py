"""Unit and end to end: the Kubernetes manifests, the systemd unit and the container file.

Two tests run a server: one notifies systemd, one may write only to the folders that these files allow.
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
    def test_manifest_fits_the_schema(self, name: str, version: str) -> None:
        kubernetes_validate.validate(manifest(name), version, strict=True)

    def test_schema_finds_a_mistake(self) -> None:
        deployment = manifest("deployment.yaml")
        deployment["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, KUBERNETES_VERSIONS[0], strict=True)

    def test_every_manifest_is_listed(self) -> None:
        others = {"kustomization.yaml", "prometheus-adapter.yaml"}
        assert {path.name for path in KUBERNETES.iterdir()} - others == set(RESOURCES)

    def test_all_manifests_select_the_same_pods(self) -> None:
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

    def test_metrics_port_is_not_in_the_service(self) -> None:
        template = manifest("deployment.yaml")["spec"]["template"]
        [server] = template["spec"]["containers"]
        settings = {each["name"]: each.get("value", "k") for each in server["env"]}
        port = Config.of(settings).listen.metrics_port
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
        assert {"name": "metrics", "containerPort": port} in server["ports"]
        [service] = manifest("service.yaml")["spec"]["ports"]
        assert service["targetPort"] == "speech"

    def test_autoscaler_uses_metrics_that_the_server_exports(self) -> None:
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
    def test_systemd_accepts_the_unit(self, tmp_path: Path) -> None:
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
def test_notifies_systemd(tmp_path: Path, is_abstract: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tones instead of the model; the test stands in for systemd."""
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
    """The instructions of the container file, split into words."""
    joined = (SCRIPTS / "Containerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line and not line.startswith("#")]


class TestContainer:
    def test_user_is_a_number_other_than_root(self) -> None:
        users = [words[1] for words in instructions() if words[0] == "USER"]
        assert users == ["10001:10001"]
        security = manifest("deployment.yaml")["spec"]["template"]["spec"]["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (10001, 10001)

    def test_volumes_are_mounted_by_the_manifest(self) -> None:
        [volumes] = [words[1:] for words in instructions() if words[0] == "VOLUME"]
        [server] = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"]
        mounted = {mount["mountPath"] for mount in server["volumeMounts"]}
        assert {volume.strip("[],") for volume in volumes} | {"/tmp"} == mounted

    def test_the_image_has_the_version_of_the_package(self) -> None:
        [server] = manifest("deployment.yaml")["spec"]["template"]["spec"]["containers"]
        named = re.findall(r"kokoro-trio:(\S+)", (SCRIPTS / "Containerfile").read_text())
        assert {*named, server["image"].removeprefix("kokoro-trio:")} == {__version__}

    def test_health_check_exists(self) -> None:
        [check] = [words for words in instructions() if words[0] == "HEALTHCHECK"]
        assert (REPOSITORY / check[-1].strip("]")).is_file()


# As with the unit and the container, the file system is read-only except for logs/, custom_voices/ and a
# temporary folder in memory, and the user is `nobody`. It is a mount namespace of its own. The one capability
# lets `nobody` read the checkout and Python even if only their owner may.
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
def test_speaks_with_a_read_only_file_system(confined: Server) -> None:
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
