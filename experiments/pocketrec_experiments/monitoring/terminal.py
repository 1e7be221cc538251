"""The report as text for a terminal."""

from collections.abc import Iterator

from pocketrec_experiments.monitoring.report import MonitorReport
from pocketrec_experiments.monitoring.words import headline, tables


def lines(report: MonitorReport) -> Iterator[str]:
    """Yield the lines of a report: tables first, then notes."""
    yield headline(report)
    for title, heads, rows in tables(report):
        yield ""
        yield title
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in (heads, *rows):
            cells = [
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  ".join(cells).rstrip()
    if report.notes:
        yield ""
    for note in report.notes:
        yield f"note: {note}"
