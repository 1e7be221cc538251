"""Releases that this device must not run: they failed here, or their publisher killed them.

`refused.json` of the phone's home. A sync passes over what failed until a newer release comes; a
release that is killed and still the active one answers from its lists alone.
"""

import json

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

FAILED, KILLED = WHY = ("failed", "killed")
MAX_KEPT = 32


def read(home: PhoneHome) -> dict[str, str]:
    """Return why by manifest hash, the oldest first; a file that cannot be read holds nothing."""
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
    """Return the releases that failed here."""
    return frozenset(sha for sha, why in read(home).items() if why == FAILED)


def block(home: PhoneHome, manifest: str) -> None:
    """Note that a release failed here.

    Raises:
        PocketRecError: it could not be noted.
    """
    kept = read(home)
    if kept.pop(manifest, None) != FAILED:
        _write(home, kept | {manifest: FAILED})


def unblock(home: PhoneHome, manifest: str) -> None:
    """Remove a failed release from the blocklist, so that it is tried again.

    Raises:
        PocketRecError: it could not be noted.
    """
    kept = read(home)
    if kept.get(manifest) == FAILED:
        _write(home, {sha: why for sha, why in kept.items() if sha != manifest})


def set_killed(home: PhoneHome, killed: frozenset[str]) -> None:
    """Note which of the releases on this device are killed, in the place of earlier ones.

    Raises:
        PocketRecError: it could not be noted.
    """
    before = read(home)
    kept = {sha: why for sha, why in before.items() if why != KILLED}
    after = kept | dict.fromkeys(sorted(killed - kept.keys()), KILLED)
    if after != before:
        _write(home, after)


def _write(home: PhoneHome, refused: dict[str, str]) -> None:
    pairs = [list(pair) for pair in refused.items()]
    write_private(home.refused, canonical_json(pairs[-MAX_KEPT:]))
