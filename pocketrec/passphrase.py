"""The passphrase of keys: from the environment, or from a person at a terminal."""

import os
import sys
from pathlib import Path

import click

from bundle.errors import InputError


def asked(path: Path) -> str | None:
    """Ask for the passphrase of a key; None: there is nobody to ask."""
    if not sys.stdin.isatty():
        return None
    return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True))


def chosen(*, plain: bool) -> str | None:
    """The passphrase for new keys; None if they shall not be encrypted.

    Raises:
        InputError: there is none, and nobody said that this is meant.
    """
    from sync_server.keys import PASSPHRASE

    if plain:
        return None
    if found := os.environ.get(PASSPHRASE):
        return found
    if not sys.stdin.isatty():
        raise InputError(
            f"no passphrase for the new keys. Set {PASSPHRASE}, or say --plain if another lock "
            "guards the folder."
        )
    return str(
        click.prompt(
            "Passphrase of the new keys", hide_input=True, confirmation_prompt=True, err=True
        )
    )
