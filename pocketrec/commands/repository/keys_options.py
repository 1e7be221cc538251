"""Shared options of the commands that sign."""

import getpass
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pocketrec_server.repository.history import Note

REPO = click.option(
    "--repo", type=click.Path(path_type=Path), required=True, help="The repository."
)
KEYS = click.option(
    "--keys",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Folder of keys; repeatable.",
)
PLAIN = click.option("--plain", is_flag=True, help="Do not encrypt new keys.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
BY = click.option("--by", help="Your name for the history; default: USER@HOST.")
REASON = click.option("--reason", default="", help="Reason for the history.")


def note_of(by: str | None, reason: str) -> "Note":
    """Return the note of a change from the options --by and --reason.

    Raises:
        InputError: a text is too long or has control characters.
    """
    from pocketrec_server.repository.history import Note, line

    return Note(by=line(_user_at_host()) if by is None else by, reason=reason)


def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, the user id may have no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
