"""Generate the reference page of the command line from `--help`; a test compares them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pocketrec.cli import main
from pocketrec_bundle.disk.files import write_atomic

HEADER = """# Command line reference

Generated from `--help` by `make docs`; do not edit. Results go to stdout, progress and messages to
stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 a gate refused.
"""
WIDTH = 100


def walk() -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Yield every command with its words after `pocketrec`, in the order of `--help`."""
    settings = {**main.context_settings, "terminal_width": WIDTH}
    top = click.Context(main, info_name="pocketrec", **settings)
    yield (), main, top
    yield from _below((), main, top)


def _below(
    words: tuple[str, ...], group: click.Group, parent: click.Context
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None:
            raise LookupError(f"{' '.join((*words, name))} is named but not there")
        context = click.Context(command, parent=parent, info_name=name, terminal_width=WIDTH)
        yield (*words, name), command, context
        if isinstance(command, click.Group):
            yield from _below((*words, name), command, context)


def page() -> str:
    """Return the page: one heading and one block for each command."""
    parts = [HEADER]
    for words, command, context in walk():
        title = " ".join(("pocketrec", *words))
        level = "#" * (2 if len(words) < 2 else 3)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"{level} {title}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]), page().encode())
