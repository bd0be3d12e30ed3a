"""Pure: from knobs to the configuration, and which values are rejected."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kokoro_trio import config as config_module
from kokoro_trio.config import REPOSITORY, ClientConfig, Config
from kokoro_trio.errors import BadKnob, SettingsUnreadable

KEY = {"API_KEY": "k"}


def test_defaults() -> None:
    config = Config.of(KEY)
    assert (config.listen.host, config.listen.port) == ("0.0.0.0", 8000)
    assert (config.engine.max_concurrent_jobs, config.engine.queue_maxsize) == (4, 128)
    assert (config.voices.female, config.voices.male) == ("af_aoede", "am_michael")
    assert (config.model.weights, config.model.device, config.model.gpu_memory_fraction) == (
        "auto",
        "auto",
        0.95,
    )
    assert (config.stream.chunk_seconds, config.stream.prime_bytes) == (0.02, 512)
    assert (config.stream.buffer_bytes, config.stream.flush_every) == (960, 1)
    assert (config.stream.first_chunk_immediate, config.stream.send_timeout_s) == (True, 3.0)
    assert config.requests.max_words == 150
    assert config.voices.custom_folder == REPOSITORY / "custom_voices"


def test_api_key_is_a_comma_separated_list() -> None:
    assert Config.of({"API_KEY": " one, two ,"}).listen.api_keys == ("one", "two")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_host_needs_no_key(host: str) -> None:
    assert Config.of({"HOST": host}).listen.api_keys == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "example.org", ""])
def test_other_hosts_need_a_key(host: str) -> None:
    with pytest.raises(BadKnob, match="API_KEY"):
        Config.of({"HOST": host})


@pytest.mark.parametrize(
    ("host", "key", "is_detected"),
    [
        ("0.0.0.0", "dev-key", True),
        ("10.0.0.1", "mine,dev-key", True),
        ("127.0.0.1", "dev-key", False),
        ("0.0.0.0", "mine", False),
    ],
)
def test_known_key_is_detected_on_reachable_hosts(host: str, key: str, is_detected: bool) -> None:
    assert Config.of({"HOST": host, "API_KEY": key}).listen.has_known_key == is_detected


def test_prime_stream_0_disables_the_primer() -> None:
    assert Config.of(KEY | {"PRIME_STREAM": "0"}).stream.prime_bytes == 0


@pytest.mark.parametrize(("value", "n_processes"), [("", None), ("auto", None), ("0", 0), ("3", 3)])
def test_g2p_processes_is_auto_or_a_number(value: str, n_processes: int | None) -> None:
    assert Config.of(KEY | {"G2P_PROCESSES": value}).engine.g2p_processes == n_processes


def test_empty_value_counts_as_not_set() -> None:
    assert Config.of(KEY | {"PORT": " "}).listen.port == 8000


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("MAX_CONCURRENT_JOBS", "0"),
        ("MAX_CONCURRENT_JOBS", "2.5"),
        ("QUEUE_MAXSIZE", "-1"),
        ("KOKORO_DEVICE", "tpu"),
        ("KOKORO_DEVICE", "cuda:x"),
        ("KOKORO_GPU_MEMORY_FRACTION", "1.5"),
        ("KOKORO_GPU_MEMORY_FRACTION", "nan"),
        ("STREAM_CHUNK_SECONDS", "0"),
        ("PRIME_STREAM", "maybe"),
        ("PRIME_BYTES", "511"),
        ("WS_SEND_TIMEOUT", "inf"),
        ("LOG_LEVEL", "loud"),
        ("MAX_UTTERANCE_WORDS", "0"),
        ("G2P_PROCESSES", "some"),
        ("G2P_PROCESSES", "65"),
        ("METRICS_PORT", "65536"),
    ],
)
def test_bad_value_names_the_knob_and_its_range(knob: str, value: str) -> None:
    with pytest.raises(BadKnob) as caught:
        Config.of(KEY | {knob: value})
    assert caught.value.knob == knob
    assert value in str(caught.value)
    assert caught.value.allowed in str(caught.value)


def test_precedence_of_command_line_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("API_KEY=of-file\nPORT=1111\nHOST=127.0.0.1\n")
    monkeypatch.setenv("PORT", "2222")
    config = Config.load(env_file=env_file)
    assert (config.listen.api_keys, config.listen.port) == (("of-file",), 2222)
    assert Config.load(port=3333, env_file=env_file).listen.port == 3333


@pytest.mark.parametrize(
    ("knob", "value", "read"),
    [
        ("HOST", "127.0.0.2", lambda config: config.listen.host),
        ("PORT", "4444", lambda config: str(config.listen.port)),
        ("API_KEY", "mine", lambda config: ",".join(config.listen.api_keys)),
        ("LOG_LEVEL", "debug", lambda config: config.log.level),
    ],
)
def test_prefixed_knob_in_the_file_precedes_an_unprefixed_variable(
    knob: str,
    value: str,
    read: Callable[[Config], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"API_KEY=k\nKOKORO_{knob}={value}\n")
    monkeypatch.setenv(knob, "x86_64-conda-linux-gnu")
    assert read(Config.load(env_file=env_file)) == value


def test_command_line_precedes_a_prefixed_knob(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("API_KEY=k\nKOKORO_HOST=127.0.0.2\nKOKORO_PORT=4444\n")
    listen = Config.load(host="127.0.0.3", port=5555, env_file=env_file).listen
    assert (listen.host, listen.port) == ("127.0.0.3", 5555)


def test_empty_prefixed_knob_counts_as_not_set() -> None:
    assert Config.of(KEY | {"KOKORO_PORT": "", "PORT": "4444"}).listen.port == 4444


def test_bad_value_is_reported_with_the_prefixed_name() -> None:
    with pytest.raises(BadKnob) as caught:
        Config.of(KEY | {"KOKORO_PORT": "tcp://10.0.0.1:8000"})
    assert caught.value.knob == "KOKORO_PORT"


def test_kokoro_env_file_names_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "settings"
    named.write_text("API_KEY=of-file\n")
    monkeypatch.setenv("KOKORO_ENV_FILE", str(named))
    assert Config.load().listen.api_keys == ("of-file",)
    assert ClientConfig.load().api_key == "of-file"


def test_missing_kokoro_env_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOKORO_ENV_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsUnreadable, match="none cannot be read: No such file"):
        Config.load()


def test_settings_file_must_be_utf8(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"API_KEY=caf\xe9\n")
    with pytest.raises(SettingsUnreadable, match=r"\.env cannot be read: it is not UTF-8, at byte 11"):
        Config.load(env_file=env_file)


def test_unreadable_settings_file_is_an_error(open_tmp_path: Path) -> None:
    env_file = open_tmp_path / ".env"
    env_file.write_text("API_KEY=k\n")
    env_file.chmod(0)
    with _as_user_nobody(), pytest.raises(SettingsUnreadable, match="Permission denied"):
        ClientConfig.load(env_file)


@contextmanager
def _as_user_nobody() -> Iterator[None]:
    """Without root's permission to read every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_operations_page_names_every_knob() -> None:
    knobs = set(re.findall(r'"([A-Z0-9_]{4,})",', Path(config_module.__file__).read_text()))
    assert len(knobs) > 30
    page = (REPOSITORY / "scripts" / "README.md").read_text(encoding="utf-8")
    assert {knob for knob in knobs if f"`{knob}`" not in page} == set()


def test_client_config_prefers_the_public_address(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("API_KEY=one,two\nPORT=1111\n")
    assert ClientConfig.load(env_file) == ClientConfig("127.0.0.1", 1111, "one")
    env_file.write_text("RUNPOD_TCP_HOST=pod.example\nRUNPOD_TCP_PORT=40001\nMETRICS_PORT=9100\n")
    assert ClientConfig.load(env_file) == ClientConfig("pod.example", 40001, None, 9100)
