"""Tells systemd how the service is, as sd_notify(3) says; does nothing under other supervisors."""

import socket

import structlog
import trio
from attrs import frozen

from kokoro_trio.config import SupervisorConfig

logger = structlog.get_logger()

READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"


@frozen
class Supervisor:
    config: SupervisorConfig

    def tell(self, state: str) -> None:
        if (address := self.config.notify_socket) is None:
            return
        if address.startswith("@"):
            address = f"\0{address[1:]}"  # Linux's sockets without a file.
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_supervisor:
                to_supervisor.setblocking(False)
                to_supervisor.sendto(state.encode(), address)
        except OSError as error:
            logger.warning("supervisor_not_told", state=state, reason=str(error))

    async def reassure(self) -> None:
        """Says that the event loop runs, for as long as it does and somebody wants to hear it."""
        if self.config.watchdog_s is None:
            return
        while True:
            self.tell(WATCHDOG)
            await trio.sleep(self.config.watchdog_s / 2)
