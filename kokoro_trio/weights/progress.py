"""Shows the progress of a long preparation: a bar on a terminal, lines in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from attrs import field, frozen
from tqdm import tqdm

TENTHS = 10

Advance = Callable[[int], object]


@frozen
class Progress:
    stream: TextIO = field(factory=lambda: sys.stderr)

    def say(self, line: str) -> None:
        tqdm.write(line, file=self.stream)  # Above the bar, if there is one.
        self.stream.flush()

    @contextmanager
    def bar(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Yields a function that adds its argument to the progress towards `total`."""
        if self.stream.isatty():
            with tqdm(desc=label, total=total, unit=unit, unit_scale=True, file=self.stream) as bar:
                yield bar.update
        else:
            yield _Lines(label, total, self.say)


class _Lines:
    """Prints a line at every tenth of the total."""

    def __init__(self, label: str, total: int, say: Callable[[str], None]) -> None:
        self._label, self._total, self._say = label, total, say
        self._done = self._tenths = 0

    def __call__(self, amount: int) -> None:
        self._done += amount
        if (tenths := self._done * TENTHS // self._total) > self._tenths:
            self._tenths = tenths
            self._say(f"{self._label}: {100 * self._done // self._total} %")
