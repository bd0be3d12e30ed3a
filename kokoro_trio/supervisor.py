"""Supervision of the process: notifications to systemd (sd_notify(3)), and the watchdog of the event loop."""

import faulthandler
import socket

import structlog
import trio
from attrs import frozen

from kokoro_trio.config import SupervisorConfig

logger = structlog.get_logger()

READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"
RESETS_PER_LIMIT = 10


@frozen
class Supervisor:
    """Notifies systemd; does nothing under other supervisors."""

    config: SupervisorConfig

    def notify(self, state: str) -> None:
        if (address := self.config.notify_socket) is None:
            return
        if address.startswith("@"):
            address = f"\0{address[1:]}"  # A socket in Linux's abstract namespace.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_supervisor:
                to_supervisor.setblocking(False)
                to_supervisor.sendto(state.encode(), address)
        except OSError as error:
            logger.warning("supervisor_not_notified", state=state, reason=str(error))

    async def keep_alive(self) -> None:
        """Sends keep-alive notifications while the event loop runs, if the supervisor expects them."""
        if self.config.watchdog_s is None:
            return
        while True:
            self.notify(WATCHDOG)
            await trio.sleep(self.config.watchdog_s / 2)


async def exit_if_event_loop_stalls(limit_s: float) -> None:
    """Ends the process if the event loop is blocked for `limit_s`, for example by a deadlock.

    The thread of `faulthandler` does not need Python's lock, and prints where each thread is.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(limit_s, exit=True)
            await trio.sleep(limit_s / RESETS_PER_LIMIT)
    finally:
        faulthandler.cancel_dump_traceback_later()
