"""`python -m kokoro_trio`: the command line, the wiring, start and end of the process."""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar

import structlog
import trio

from kokoro_trio import __version__
from kokoro_trio.config import (
    DEFAULT_WEIGHTS_FOLDER,
    KNOWN_KEY_WARNING,
    Config,
    ModelConfig,
    VoiceConfig,
    WindowConfig,
)
from kokoro_trio.engine.engine import Engine
from kokoro_trio.engine.g2p_processes import PhonemizerProcesses, processes_for
from kokoro_trio.engine.inference import InferenceThread
from kokoro_trio.engine.phonemizing import Phonemizer, PhonemizerThread, Reader
from kokoro_trio.errors import EngineFault, StartError
from kokoro_trio.model.synthesizer import Synthesizer
from kokoro_trio.model.voices import VoiceCatalogue
from kokoro_trio.server.listener import Listener, LoadedModel
from kokoro_trio.server.metrics_port import serve_metrics
from kokoro_trio.supervisor import READY, STOPPING, Supervisor, exit_if_event_loop_stalls
from kokoro_trio.telemetry import log
from kokoro_trio.telemetry.log_file import LogFile
from kokoro_trio.telemetry.records import MetricsLog
from kokoro_trio.telemetry.server_telemetry import ServerTelemetry
from kokoro_trio.text.g2p import load as load_g2p
from kokoro_trio.wire.limits import SPARE_SOCKETS

E = TypeVar("E", bound=Exception)

logger = structlog.get_logger()

EXIT_BROKEN = 70
"""EX_SOFTWARE of sysexits.h."""
OTHER_FILES = 64
"""Open files beside the sockets."""
SWITCH_INTERVAL_S = 0.0005
"""A busy inference thread can block the event loop for this time: 5 ms with Python's default. With this value
the measured delay was 0.74 ms."""


def main() -> None:
    options = _command_line().parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    log.unbuffer_stderr()
    try:
        config = Config.load(host=options.host, port=options.port)
        log.configure(config.log, LogFile.of_stderr(config.log.max_bytes))
        _allow_files(config.listen.max_connections + SPARE_SOCKETS + OTHER_FILES)
        trio.run(serve, config)
    except StartError as error:
        sys.exit(f"error: {error}")
    except BaseExceptionGroup as group:
        if (start_error := _first(StartError, group)) is not None:
            sys.exit(f"error: {start_error}")
        if _first(EngineFault, group) is not None:
            # Without Python's shutdown, which could wait forever for a stuck thread or a lost device.
            os._exit(EXIT_BROKEN)
        raise


def _allow_files(n_files: int) -> None:
    """Raises the limit of open files, which is often 1024, to `n_files` if the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = n_files if hard == resource.RLIM_INFINITY else min(n_files, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < n_files:
        logger.warning("few_open_files", allowed=allowed, wanted=n_files)


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kokoro-trio serve", description="Serves Kokoro-82M text-to-speech over WebSockets."
    )
    parser.add_argument("--host", help="address to listen on (knob HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (knob PORT)")
    parser.add_argument("--version", action="version", version=f"kokoro_trio {__version__}")
    return parser


def _first(kind: type[E], group: BaseExceptionGroup[BaseException]) -> E | None:
    """The first error of this kind in a group, at any depth: each nursery wraps errors in a group."""
    for error in group.exceptions:
        found = _first(kind, error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, kind):
            return found
    return None


async def serve(config: Config) -> None:
    """Serves until a SIGTERM or SIGINT has been handled."""
    telemetry = ServerTelemetry(MetricsLog(config.log.folder, config.log.metrics_max_bytes))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(telemetry.write_log)
        with closing(telemetry):
            await _serve_until_signal(config, telemetry)


async def _serve_until_signal(config: Config, telemetry: ServerTelemetry) -> None:
    inference = InferenceThread(partial(_load_model, config.model, config.windows))
    engine = Engine(config.engine, inference, _phonemizer(config), telemetry)
    listener = Listener(config.listen, config.stream, engine, telemetry)
    supervisor = Supervisor(config.supervisor)
    async with trio.open_nursery() as nursery:
        shut_down = partial(_shut_down_on_signal, config.listen.shutdown_grace_s, listener, supervisor)
        await nursery.start(shut_down, nursery)
        nursery.start_soon(supervisor.keep_alive)
        if config.listen.metrics_port:
            await nursery.start(serve_metrics, config.listen, telemetry)
        port = await nursery.start(listener.serve)
        logger.info("listening", host=config.listen.host, port=port)
        if config.listen.has_known_key:
            logger.warning("known_api_key", reason=KNOWN_KEY_WARNING)
        nursery.start_soon(exit_if_event_loop_stalls, config.engine.stuck_after_s)
        synthesizer = await nursery.start(_run_engine, engine, listener)
        voices = VoiceCatalogue.of(
            synthesizer.voice_names,
            female=config.voices.female,
            male=config.voices.male,
            custom_folder=config.voices.custom_folder,
        )
        listener.open_for(LoadedModel(voices, config.requests, synthesizer.device, synthesizer.device_reason))
        supervisor.notify(READY)
        logger.info("ready", device=synthesizer.device, voices=len(voices.names))


async def _run_engine(
    engine: Engine,
    listener: Listener,
    *,
    task_status: trio.TaskStatus[Synthesizer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Closes all sessions before a fault of the engine ends the process."""
    try:
        await engine.run(task_status=task_status)
    except* trio.Cancelled:
        raise
    except* BaseException:
        await listener.hang_up()
        raise


def _load_model(config: ModelConfig, windows: WindowConfig) -> Synthesizer:
    # torch takes seconds to import; a bad knob or a port in use is reported before that.
    from kokoro_trio.model.device import choose_device
    from kokoro_trio.model.kokoro import KokoroSynthesizer
    from kokoro_trio.weights.prepared import open_weights, prepared_folder

    chosen = choose_device(config)
    weights = open_weights(prepared_folder(config.weights, DEFAULT_WEIGHTS_FOLDER))
    return KokoroSynthesizer.of(weights, chosen.device, config, windows, chosen.reason)


def _phonemizer(config: Config) -> Phonemizer:
    n_processes = config.engine.g2p_processes
    if n_processes is None:
        n_processes = processes_for(len(os.sched_getaffinity(0))) if config.model.may_use_gpu else 0
    load = partial(_load_text, config.voices)
    if n_processes == 0:
        return PhonemizerThread(load)
    configure_log = partial(log.configure, config.log, LogFile.of_stderr(config.log.max_bytes))
    return PhonemizerProcesses(load, n_processes, configure_log)


_load_text: Callable[[VoiceConfig, frozenset[str]], Reader] = load_g2p
"""Worker processes import it by its name, which they cannot do with functions of this module."""


async def _shut_down_on_signal(
    grace_s: float,
    listener: Listener,
    supervisor: Supervisor,
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The first signal drains; a second one skips the grace period; a third one ends the process at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        number = await anext(signals)
        logger.info("shutting_down", signal=signal.Signals(number).name, grace_s=grace_s)
        supervisor.notify(STOPPING)
        nursery.start_soon(_drain, listener, grace_s, nursery.cancel_scope)
        number = await anext(signals)
        logger.info("grace_period_skipped", signal=signal.Signals(number).name)
        listener.skip_grace()
        await anext(signals)
        nursery.cancel_scope.cancel()


async def _drain(listener: Listener, grace_s: float, serving: trio.CancelScope) -> None:
    was_loading = not listener.is_open
    await listener.drain(grace_s)
    if was_loading:
        # The thread that loads the model cannot be interrupted and may take a minute. No client is served.
        os._exit(0)
    serving.cancel()


if __name__ == "__main__":
    main()
