"""Options that the commands which sign share."""

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
    help="Folder of keys; may be given again.",
)
PLAIN = click.option("--plain", is_flag=True, help="Do not encrypt new keys.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
BY = click.option("--by", help="Who does it, for the history; by default USER@HOST.")
REASON = click.option("--reason", default="", help="Why, for the history.")


def note_of(by: str | None, reason: str) -> "Note":
    """Who makes a change and why, as the options say.

    Raises:
        InputError: a text is too long or holds control characters.
    """
    from pocketrec_server.repository.history import Note, line

    return Note(by=line(_user_at_host()) if by is None else by, reason=reason)


def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
