"""One progress bar on stderr, and lines in a log, for anything that takes over two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

SHOWN_EVERY = 10_000
"""Steps between two `advance` of a loop over a million things, each too short to tell."""

LOGGED_EVERY_S = 10.0
"""Least seconds between two lines of one bar whose note does not change."""


class _Log:
    """A file that gets a line for each step of a bar, but not for each of many."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._last: tuple[str, str, float] = ("", "", 0.0)

    def add(self, name: str, done: int, total: int, note: str) -> None:
        now = self._clock()
        last_name, last_note, then = self._last
        same = (name, note) == (last_name, last_note) or total > SHOWN_EVERY
        if same and done < total and now - then < LOGGED_EVERY_S:
            return
        self._last = name, note, now
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S")
        self._write(f"{at} {name} {done}/{total} {note}".rstrip() + "\n")


_log: ContextVar[_Log | None] = ContextVar("progress log", default=None)


@contextmanager
def logged_to(path: Path, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Write a line for the steps of every bar within the block; an earlier log is replaced.

    Args:
        path: the file; its folder is made.
        clock: seconds since 1970.

    Example:
        >>> with logged_to(Path("evaluate.log")), Progress("evaluate", 2) as bar:
        ...     bar.advance(1, "two towers")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", buffering=1, encoding="utf-8") as file:
        token = _log.set(_Log(file.write, clock))
        try:
            yield
        finally:
            _log.reset(token)


class Progress:
    """A bar of `total` steps; on a pipe, where bars make no sense, it prints nothing."""

    def __init__(self, name: str, total: int) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(name, total=total, note="")
        self._name, self._total = name, total

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, done: int, note: str = "") -> None:
        """Show that `done` steps are finished."""
        self._bar.update(self._task, completed=done, note=note)
        if (log := _log.get()) is not None:
            log.add(self._name, done, self._total, note)
