"""All knobs, with their defaults and ranges.

`Config.load` reads the environment and a `.env` file once, at the start. Other modules get their part of the
configuration, checked and frozen, and do not read the environment.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen
from dotenv import dotenv_values

from kokoro_trio.errors import BadKnob, SettingsUnreadable
from kokoro_trio.installation import DATA_FOLDER
from kokoro_trio.installation import REPOSITORY as REPOSITORY

DEFAULT_WEIGHTS_FOLDER = DATA_FOLDER / "weights"
BYTES_PER_SAMPLE = 2
MAX_UTTERANCE_CHARACTERS = 10_000
"""The default: 150 of the longest words have 7,500 characters, and pronunciations need room."""
PREFIX = "KOKORO_"
"""A knob may have this prefix. The prefixed name takes precedence: other programs export `HOST`, `PORT` and
`API_KEY` too."""
NVIDIA_DEVICE = Path("/dev/nvidiactl")
"""This file exists where NVIDIA's driver is loaded."""

T = TypeVar("T")
N = TypeVar("N", int, float)


KNOWN_KEY = "dev-key"
"""Earlier versions of scripts/setup.sh wrote it into every `.env`."""
KNOWN_KEY_WARNING = (
    f"other machines can reach this server, and its API_KEY is {KNOWN_KEY}, which is public; "
    "set a key of your own in .env and restart the server"
)


@frozen
class ListenConfig:
    host: str
    port: int
    api_keys: tuple[str, ...] = field(repr=False)
    """Empty: the server needs no key, and may only listen on a loopback address."""
    metrics_port: int
    """0: `/metrics` is on `port`."""
    allowed_origins: tuple[str, ...]
    """Origins of web pages that may connect, such as `https://app.example`; `*`: any. The server's own page
    always may."""
    max_connections: int
    max_connections_per_key: int
    max_message_bytes: int
    max_input_characters: int
    """In one HTTP request."""
    http_send_timeout_s: float
    handshake_timeout_s: float
    idle_timeout_s: float
    """A connection is closed after this time without a message and without an outstanding request."""
    ping_interval_s: float
    ping_timeout_s: float
    shutdown_grace_s: float

    @property
    def is_local(self) -> bool:
        """Only clients on this machine can connect."""
        return is_loopback(self.host)

    @property
    def has_known_key(self) -> bool:
        """Other machines can connect with `KNOWN_KEY`."""
        return KNOWN_KEY in self.api_keys and not self.is_local


@frozen
class RequestLimits:
    """Limits of one connection: the first two for each request, the others for all outstanding requests."""

    max_words: int
    max_utterance_characters: int
    max_requests: int
    max_characters: int


@frozen
class ModelConfig:
    weights: str
    device: str
    dtype: str
    gpu_memory_fraction: float
    cuda_graphs: bool = False

    @property
    def may_use_gpu(self) -> bool:
        """A guess that needs no torch, which takes seconds to import."""
        return self.device.startswith("cuda") or (self.device == "auto" and NVIDIA_DEVICE.exists())


@frozen
class WindowConfig:
    """Where the first window of an utterance ends. `first_max_words` 0: segments are vocoded whole."""

    first_max_words: int
    first_boundaries: str
    trims_leading_silence: bool


@frozen
class VoiceConfig:
    female: str
    male: str
    custom_folder: Path
    """Contains the named recipes of voices."""


@frozen
class EngineConfig:
    max_concurrent_jobs: int
    queue_maxsize: int
    stalled_after_s: float = 30.0
    """While a step takes longer than this, new requests are rejected."""
    stuck_after_s: float = 120.0
    """When a step takes longer than this, the process ends."""
    g2p_processes: int | None = None
    """0: a thread instead of processes; None: chosen by the number of cores."""


@frozen
class StreamConfig:
    """How audio is sent; `audio/pcm.py` forms the frames."""

    chunk_seconds: float
    prime_bytes: int
    """Zero bytes sent once in a session, before its first audio; 0: none."""
    first_chunk_immediate: bool
    buffer_bytes: int
    flush_every: int
    send_timeout_s: float


@frozen
class LogConfig:
    level: str
    folder: Path
    max_bytes: int
    """Size at which the log is rotated, if standard error goes to a file."""
    metrics_max_bytes: int


@frozen
class SupervisorConfig:
    """Variables that systemd sets for a service of `Type=notify`. They are not knobs."""

    notify_socket: str | None
    watchdog_s: float | None
    """systemd expects a keep-alive notification at least this often."""


@frozen
class Config:
    listen: ListenConfig
    model: ModelConfig
    windows: WindowConfig
    voices: VoiceConfig
    engine: EngineConfig
    stream: StreamConfig
    log: LogConfig
    requests: RequestLimits
    supervisor: SupervisorConfig

    @classmethod
    def load(
        cls, *, host: str | None = None, port: int | None = None, env_file: Path | None = None
    ) -> "Config":
        """Reads the settings file and the environment. `host` and `port` (command line) take precedence.

        Raises `BadKnob` and `SettingsUnreadable`.
        """
        overrides = {f"{PREFIX}HOST": host, f"{PREFIX}PORT": None if port is None else str(port)}
        given = {name: value for name, value in overrides.items() if value is not None}
        return cls.of(_settings(env_file) | given)

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Config":
        """From settings by knob name. Raises `BadKnob`."""
        knobs = _Knobs(settings)
        return cls(
            listen=_listen(knobs),
            model=ModelConfig(
                weights=knobs.text("KOKORO_WEIGHTS", "auto"),
                device=knobs.of("KOKORO_DEVICE", "auto", _device, "auto, cpu, cuda or cuda:N"),
                dtype=knobs.of("KOKORO_DTYPE", "auto", _one_of(DTYPES), f"one of {', '.join(DTYPES)}"),
                gpu_memory_fraction=knobs.number("KOKORO_GPU_MEMORY_FRACTION", 0.95, 0.05, 1.0),
                cuda_graphs=knobs.flag("KOKORO_CUDA_GRAPHS", False),
            ),
            windows=WindowConfig(
                first_max_words=knobs.whole("FIRST_SEGMENT_MAX_WORDS", 2, 0, 1000),
                first_boundaries=knobs.text("FIRST_SEGMENT_BOUNDARIES", ".,?!;:"),
                trims_leading_silence=knobs.flag("TRIM_LEADING_SILENCE", True),
            ),
            voices=VoiceConfig(
                female=knobs.text("DEFAULT_VOICE_FEMALE", "af_aoede"),
                male=knobs.text("DEFAULT_VOICE_MALE", "am_michael"),
                custom_folder=Path(knobs.text("CUSTOM_VOICES_FOLDER", str(DATA_FOLDER / "custom_voices"))),
            ),
            engine=EngineConfig(
                max_concurrent_jobs=knobs.whole("MAX_CONCURRENT_JOBS", 4, 1, 1024),
                queue_maxsize=knobs.whole("QUEUE_MAXSIZE", 128, 1, 100_000),
                stalled_after_s=knobs.number("WATCHDOG_STALLED", 30.0, 0.1, 3600.0),
                stuck_after_s=knobs.number("WATCHDOG_STUCK", 120.0, 0.1, 86_400.0),
                g2p_processes=knobs.of(
                    "G2P_PROCESSES",
                    None,
                    _unless_auto(_within(int, 0, 64)),
                    "auto or a whole number from 0 to 64",
                ),
            ),
            stream=_stream(knobs),
            log=LogConfig(
                level=knobs.of("LOG_LEVEL", "info", _one_of(LOG_LEVELS), f"one of {', '.join(LOG_LEVELS)}"),
                folder=Path(knobs.text("LOG_FOLDER", str(DATA_FOLDER / "logs"))),
                max_bytes=knobs.whole("LOG_MAX_BYTES", 20_000_000, 10_000, 10_000_000_000),
                metrics_max_bytes=knobs.whole("METRICS_MAX_BYTES", 50_000_000, 10_000, 10_000_000_000),
            ),
            requests=RequestLimits(
                max_words=knobs.whole("MAX_UTTERANCE_WORDS", 150, 1, 100_000),
                max_utterance_characters=knobs.whole(
                    "MAX_UTTERANCE_CHARACTERS", MAX_UTTERANCE_CHARACTERS, 1, 1_000_000
                ),
                max_requests=knobs.whole("MAX_OUTSTANDING_REQUESTS", 1000, 1, 100_000),
                max_characters=knobs.whole("MAX_OUTSTANDING_CHARACTERS", 500_000, 1000, 1_000_000_000),
            ),
            supervisor=_supervisor(settings),
        )


@frozen
class ClientConfig:
    """Where the client, the warm-up and the bench connect by default."""

    host: str
    port: int
    api_key: str | None
    metrics_port: int | None = None
    """None: `/metrics` is on `port`."""

    @classmethod
    def load(cls, env_file: Path | None = None) -> "ClientConfig":
        """Raises `BadKnob` and `SettingsUnreadable`."""
        knobs = _Knobs(_settings(env_file))
        local_port = knobs.whole("PORT", 8000, 0, 65_535)
        keys = knobs.text("API_KEY", "").split(",")
        return cls(
            host=knobs.text("RUNPOD_TCP_HOST", "127.0.0.1"),
            port=knobs.whole("RUNPOD_TCP_PORT", local_port, 1, 65_535),
            api_key=keys[0].strip() or None,
            metrics_port=knobs.whole("METRICS_PORT", 0, 0, 65_535) or None,
        )


def reachable_host(host: str) -> str:
    """The address at which a client on this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def listen_address(env_file: Path | None = None) -> tuple[str, int]:
    """Reads only HOST and PORT, because a health check may run without the API key.

    Raises `BadKnob` and `SettingsUnreadable`.
    """
    return _address(_Knobs(_settings(env_file)))


def _settings(env_file: Path | None) -> dict[str, str]:
    """Reads `env_file`, else the file that KOKORO_ENV_FILE names, else `.env`, and the environment.

    The environment takes precedence. Only `.env` may be missing.
    """
    named = os.environ.get("KOKORO_ENV_FILE", "").strip()
    is_optional = env_file is None and not named
    env_file = env_file or Path(named or DATA_FOLDER / ".env")
    try:
        if not is_optional:
            env_file.stat()  # dotenv takes a missing file for an empty one.
        values = dotenv_values(env_file)
    except OSError as error:
        raise SettingsUnreadable(env_file, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise SettingsUnreadable(env_file, f"it is not UTF-8, at byte {error.start}") from error
    in_file = {name: value for name, value in values.items() if value is not None}
    return in_file | dict(os.environ)


DTYPES = ("auto", "float32", "tf32", "bfloat16")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+")
LOG_LEVELS = ("debug", "info", "warning", "error")


def _address(knobs: "_Knobs") -> tuple[str, int]:
    return knobs.text("HOST", "0.0.0.0"), knobs.whole("PORT", 8000, 0, 65_535)


def _listen(knobs: "_Knobs") -> ListenConfig:
    host, port = _address(knobs)
    keys = tuple(key.strip() for key in knobs.text("API_KEY", "").split(",") if key.strip())
    if not keys and not is_loopback(host):
        raise BadKnob("API_KEY", "", f"set, because other machines can reach HOST={host}")
    return ListenConfig(
        host=host,
        port=port,
        api_keys=keys,
        metrics_port=knobs.whole("METRICS_PORT", 0, 0, 65_535),
        allowed_origins=knobs.of(
            "ALLOWED_ORIGINS",
            (),
            _origins,
            "* or a comma-separated list of origins such as https://app.example",
        ),
        max_connections=knobs.whole("MAX_CONNECTIONS", 1000, 1, 1_000_000),
        max_connections_per_key=knobs.whole("MAX_CONNECTIONS_PER_KEY", 1000, 1, 1_000_000),
        max_message_bytes=knobs.whole("WS_MAX_MESSAGE_BYTES", 2_097_152, 1024, 1_000_000_000),
        max_input_characters=knobs.whole("MAX_INPUT_CHARACTERS", 4096, 1, 1_000_000),
        http_send_timeout_s=knobs.number("HTTP_SEND_TIMEOUT", 30.0, 0.05, 3600.0),
        handshake_timeout_s=knobs.number("HANDSHAKE_TIMEOUT", 10.0, 0.1, 600.0),
        idle_timeout_s=knobs.number("WS_IDLE_TIMEOUT", 3600.0, 0.1, 1e9),
        ping_interval_s=knobs.number("WS_PING_INTERVAL", 20.0, 0.1, 3600.0),
        ping_timeout_s=knobs.number("WS_PING_TIMEOUT", 20.0, 0.1, 3600.0),
        shutdown_grace_s=knobs.number("SHUTDOWN_GRACE", 30.0, 0.0, 3600.0),
    )


def _stream(knobs: "_Knobs") -> StreamConfig:
    prime = knobs.flag("PRIME_STREAM", True)
    prime_bytes = knobs.whole("PRIME_BYTES", 512, 0, 1_000_000)
    if prime_bytes % BYTES_PER_SAMPLE:
        raise BadKnob("PRIME_BYTES", str(prime_bytes), "an even number, because a sample has two bytes")
    return StreamConfig(
        chunk_seconds=knobs.number("STREAM_CHUNK_SECONDS", 0.02, 0.005, 1.0),
        prime_bytes=prime_bytes if prime else 0,
        first_chunk_immediate=knobs.flag("WS_FIRST_CHUNK_IMMEDIATE", True),
        buffer_bytes=knobs.whole("WS_BUFFER_BYTES", 960, 1, 10_000_000),
        flush_every=knobs.whole("WS_FLUSH_EVERY", 1, 1, 10_000),
        send_timeout_s=knobs.number("WS_SEND_TIMEOUT", 3.0, 0.05, 600.0),
    )


def _supervisor(settings: Mapping[str, str]) -> SupervisorConfig:
    microseconds = settings.get("WATCHDOG_USEC") or ""
    return SupervisorConfig(
        notify_socket=settings.get("NOTIFY_SOCKET") or None,
        watchdog_s=int(microseconds) / 1e6 if microseconds.isdecimal() else None,
    )


@frozen
class _Knobs:
    """Parses settings by name."""

    settings: Mapping[str, str]

    def of(self, name: str, default: T, parse: Callable[[str], T], allowed: str) -> T:
        """`parse` raises ValueError for a value that is not `allowed`. An empty value counts as not set."""
        for written in (f"{PREFIX}{name}", name):
            value = self.settings.get(written, "").strip()
            if value:
                return _parsed(written, value, parse, allowed)
        return default

    def text(self, name: str, default: str) -> str:
        return self.of(name, default, str, "text")

    def whole(self, name: str, default: int, minimum: int, maximum: int) -> int:
        return self.of(
            name, default, _within(int, minimum, maximum), f"a whole number from {minimum} to {maximum}"
        )

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        return self.of(
            name, default, _within(float, minimum, maximum), f"a number from {minimum} to {maximum}"
        )

    def flag(self, name: str, default: bool) -> bool:
        return self.of(name, default, _flag, "0 or 1")


def _parsed(name: str, value: str, parse: Callable[[str], T], allowed: str) -> T:
    try:
        return parse(value)
    except ValueError as error:
        raise BadKnob(name, value, allowed) from error


def _within(parse: Callable[[str], N], minimum: float, maximum: float) -> Callable[[str], N]:
    def checked(value: str) -> N:
        number = parse(value)
        if not minimum <= number <= maximum:
            raise ValueError(value)
        return number

    return checked


def _unless_auto(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda value: None if value.lower() == "auto" else parse(value)


def _flag(value: str) -> bool:
    flags = {"0": False, "1": True, "false": False, "true": True}
    if value.lower() not in flags:
        raise ValueError(value)
    return flags[value.lower()]


def _one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    def checked(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(value)
        return value.lower()

    return checked


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(each.strip().lower().removesuffix("/") for each in value.split(",") if each.strip())
    if not all(each == "*" or _ORIGIN.fullmatch(each) for each in origins):
        raise ValueError(value)
    return origins


def _device(value: str) -> str:
    kind, _, number = value.partition(":")
    if value in ("auto", "cpu", "cuda") or (kind == "cuda" and number.isdecimal()):
        return value
    raise ValueError(value)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
