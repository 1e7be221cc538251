"""Checks of release names that people choose: one short printable line."""

import re

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_bundle.errors import InputError

MAX_NAME = 64
_HASH = re.compile(r"[0-9a-f]{6,64}")


def check_release_name(name: str) -> str:
    """Check a name that a person gave a release, and return it.

    Raises:
        InputError: it is empty or too long, has control characters or spaces at an end, begins
            with "-", or could be mistaken for a manifest's hash.
    """
    sound = 1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()
    if not sound or name.startswith("-") or _HASH.fullmatch(name):
        raise InputError(
            f"release name {shown(name)}: expected one line of 1 to {MAX_NAME} printable "
            "characters without spaces at its ends, not beginning with '-', and not 6 or more hex "
            "digits, which could be a manifest's hash."
        )
    return name
