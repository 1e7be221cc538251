"""One progress bar on stderr, for anything that takes over two seconds."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

SHOWN_EVERY = 10_000
"""Steps between two `advance` of a loop over a million things, each too short to tell."""


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
