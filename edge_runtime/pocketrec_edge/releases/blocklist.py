"""The blocklist: releases that failed on this device, or that their publisher killed.

Stored as `refused.json` in the phone's folder. A sync skips a failed release. A killed release that
is still active answers only from its lists.
"""

import json

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

FAILED, KILLED = WHY = ("failed", "killed")
MAX_KEPT = 32


def read(home: PhoneHome) -> dict[str, str]:
    """Return the reasons by manifest hash, oldest first; nothing if the file cannot be read."""
    try:
        value = json.loads(home.refused.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = value if isinstance(value, list) else []
    return {
        pair[0]: pair[1]
        for pair in pairs
        if isinstance(pair, list)
        and list(map(type, pair)) == [str, str]
        and SHA256.fullmatch(pair[0])
        and pair[1] in WHY
    }


def failed(home: PhoneHome) -> frozenset[str]:
    """Return the releases that failed on this device."""
    return frozenset(sha for sha, why in read(home).items() if why == FAILED)


def block(home: PhoneHome, manifest: str) -> None:
    """Block a release that failed on this device.

    Raises:
        PocketRecError: the blocklist cannot be written.
    """
    kept = read(home)
    if kept.pop(manifest, None) != FAILED:
        _write(home, kept | {manifest: FAILED})


def unblock(home: PhoneHome, manifest: str) -> None:
    """Remove a failed release from the blocklist, so that it is tried again.

    Raises:
        PocketRecError: the blocklist cannot be written.
    """
    kept = read(home)
    if kept.get(manifest) == FAILED:
        _write(home, {sha: why for sha, why in kept.items() if sha != manifest})


def set_killed(home: PhoneHome, killed: frozenset[str]) -> None:
    """Replace the list of killed releases on this device.

    Raises:
        PocketRecError: the blocklist cannot be written.
    """
    before = read(home)
    kept = {sha: why for sha, why in before.items() if why != KILLED}
    after = kept | dict.fromkeys(sorted(killed - kept.keys()), KILLED)
    if after != before:
        _write(home, after)


def _write(home: PhoneHome, refused: dict[str, str]) -> None:
    pairs = [list(pair) for pair in refused.items()]
    write_private(home.refused, canonical_json(pairs[-MAX_KEPT:]))
