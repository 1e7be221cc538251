"""A progress bar on stderr that appears after two seconds of work."""

import sys
import time
from types import TracebackType

import click

AFTER_S = 2.0
_WIDTH = 20


class LateBar:
    """Show the progress of a job; print nothing if stderr is not a terminal."""

    def __init__(self, name: str) -> None:
        self._name, self._began, self._shown = name, time.monotonic(), False

    def __enter__(self) -> "LateBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            click.echo(err=True)

    def show(self, done: int, total: int, note: str) -> None:
        """Show that `done` of `total` steps are finished, and name the next step."""
        if not sys.stderr.isatty() or time.monotonic() - self._began < AFTER_S:
            return
        self._shown = True
        full = _WIDTH * done // max(total, 1)
        bar = "#" * full + "-" * (_WIDTH - full)
        click.echo(f"\r{self._name} [{bar}] {done}/{total} {note:40.40}", err=True, nl=False)
