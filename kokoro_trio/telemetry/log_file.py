"""Rotates the file that standard error goes to.

`program 2>&1 | python -m kokoro_trio.telemetry.log_file MAX_BYTES 2>>FILE` does so for any program.
"""

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from attrs import frozen

STDOUT, STDERR = 1, 2
KEPT_FILES = 2


@frozen
class LogFile:
    """The file that standard error is appended to. At `max_bytes` it is renamed, and a new file replaces it.

    No output is lost, even if the process dies in between: output of other threads and of C libraries goes to
    the renamed file meanwhile. All processes that write to the file must call `make_room`: one renames it,
    the others switch to the new file. Standard output is switched, too, if it goes to the same file.
    """

    path: Path
    max_bytes: int

    @classmethod
    def of_stderr(cls, max_bytes: int) -> "LogFile | None":
        """None for a terminal, a pipe, a socket, a file not opened for appending, and without /proc."""
        try:
            status = os.fstat(STDERR)
            path = Path(os.readlink(f"/proc/self/fd/{STDERR}"))
            if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, path.stat()):
                return None
            if not fcntl.fcntl(STDERR, fcntl.F_GETFL) & os.O_APPEND:
                return None
        except OSError:
            return None
        return cls(path, max_bytes)

    def make_room(self) -> None:
        """Called before each line. Raises OSError; the next call tries again."""
        full = os.fstat(STDERR)
        if full.st_size < self.max_bytes:
            return
        with self.path.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Otherwise another process has renamed it.
            if os.path.samestat(full, self.path.stat()):
                self._rename()
        self._switch_to_new_file(full)

    def _rename(self) -> None:
        names = [self.path, *(Path(f"{self.path}.{number}") for number in range(1, KEPT_FILES + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)

    def _switch_to_new_file(self, full: os.stat_result) -> None:
        with self.path.open("ab") as new:
            for descriptor in (STDERR, STDOUT):
                if os.path.samestat(full, os.fstat(descriptor)):
                    os.dup2(new.fileno(), descriptor)


def main() -> None:
    """Copies standard input to standard error, line by line."""
    file = LogFile.of_stderr(int(sys.argv[1]))
    for line in sys.stdin.buffer:
        with suppress(OSError):
            if file is not None:
                file.make_room()
        with suppress(OSError):
            os.write(STDERR, line)


if __name__ == "__main__":
    main()
