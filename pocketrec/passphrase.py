"""Read the passphrase of keys from the environment or a terminal."""

import os
import sys
from pathlib import Path

import click

from pocketrec_bundle.errors import InputError


def asked(path: Path) -> str | None:
    """Ask for the passphrase of a key; None without a terminal."""
    if not sys.stdin.isatty():
        return None
    return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True))


def chosen(*, plain: bool) -> str | None:
    """Return the passphrase for new keys; None: do not encrypt them.

    Raises:
        InputError: the passphrase is missing and `plain` is false, or it is too short.
    """
    from pocketrec_server.repository.keys import (
        LEAST_PASSPHRASE,
        NEW_PASSPHRASE,
        PASSPHRASE,
        check_passphrase,
    )

    if plain:
        return None
    if found := os.environ.get(NEW_PASSPHRASE) or os.environ.get(PASSPHRASE):
        check_passphrase(found)
        return found
    if not sys.stdin.isatty():
        raise InputError(
            f"no passphrase for the new keys. Set {PASSPHRASE}, or add --plain if another lock "
            "guards the folder."
        )
    return str(
        click.prompt(
            f"Passphrase of the new keys, {LEAST_PASSPHRASE} characters or more",
            hide_input=True,
            confirmation_prompt=True,
            err=True,
            value_proc=_long_enough,
        )
    )


def _long_enough(text: str) -> str:
    """Check the typed passphrase; click asks again after its own errors."""
    from pocketrec_server.repository.keys import check_passphrase

    try:
        check_passphrase(text)
    except InputError as err:
        raise click.UsageError(str(err)) from err
    return text
