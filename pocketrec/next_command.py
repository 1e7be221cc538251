"""Print the command that usually follows, so that nobody has to look it up."""

import shlex
from pathlib import Path

import click


def print_next(*words: str | Path) -> None:
    """Print `next: pocketrec ...` on stderr; `words` are the arguments."""
    command = shlex.join(["pocketrec", *map(str, words)])
    click.echo(f"next: {command}", err=True)


def beside(folder: Path, old: str, new: str) -> Path:
    """Return the usual folder of the next step, beside that of this step.

    >>> beside(Path("work/data-2"), "data", "run").as_posix()
    'work/run-2'
    """
    name = folder.name
    return folder.with_name(name.replace(old, new, 1) if old in name else f"{name}-{new}")
