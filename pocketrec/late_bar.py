"""A progress bar on stderr for work that turns out to take more than two seconds."""

import sys
import time
from types import TracebackType

import click

AFTER_S = 2.0
_WIDTH = 20


class LateBar:
    """Shows how far a job is; on a pipe, where bars make no sense, it prints nothing."""

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
        """Show that `done` of `total` steps are finished, and what comes next."""
        if not sys.stderr.isatty() or time.monotonic() - self._began < AFTER_S:
            return
        self._shown = True
        full = _WIDTH * done // max(total, 1)
        bar = "#" * full + "-" * (_WIDTH - full)
        click.echo(f"\r{self._name} [{bar}] {done}/{total} {note:40.40}", err=True, nl=False)
