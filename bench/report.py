"""How a result is shown: as text in a terminal and as a table in Markdown."""

from collections.abc import Iterator, Sequence

from attrs import frozen


@frozen
class Report:
    """`rows`: of equal length; the first one holds the titles of the columns."""

    title: str
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()

    def text(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        table = ("  ".join(_aligned(row, widths)).rstrip() for row in self.rows)
        return "\n".join([self.title, *table, *self.remarks])

    def markdown(self) -> Iterator[str]:
        """The table only."""
        head, *rows = self.rows
        yield _markdown_row(head)
        yield "|---" * len(head) + "|"
        yield from map(_markdown_row, rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The first cell to the left, the others to the right."""
    yield row[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
