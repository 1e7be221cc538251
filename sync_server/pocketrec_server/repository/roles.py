"""The TUF roles of a repository: their keys, lifetimes and metadata.

root         signed by two of its keys; names the keys of the next three roles
targets      names the keys of the channels and of the brake; has no files of its own
snapshot     names the versions that belong together
timestamp    names the newest snapshot
CHANNEL      channels/CHANNEL/* and channels/CHANNEL/deltas/*, terminating
brake        halts/*, terminating: can stop a release, but not publish one
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Root, Targets

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import CHANNEL

ROOT, TARGETS, SNAPSHOT, TIMESTAMP, BRAKE = "root", "targets", "snapshot", "timestamp", "brake"
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
ONLINE = (SNAPSHOT, TIMESTAMP, BRAKE)
"""Roles whose keys can be on the server, which renews their metadata."""
CHANNELS = ("stable", "beta", "canary")
THRESHOLD = 2
"""Number of root keys that have to sign a root."""
_LIFETIME = {
    ROOT: timedelta(days=365),
    TARGETS: timedelta(days=365),
    SNAPSHOT: timedelta(days=30),
    TIMESTAMP: timedelta(days=7),
    BRAKE: timedelta(days=30),
}
_CHANNEL_LIFETIME = timedelta(days=180)
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
"""Reserved names on Windows. CHANNEL.json, the metadata file on a device, would open a device."""


def lifetime(role: str) -> timedelta:
    """Return the lifetime of a role's metadata; the timestamp's limits a freeze attack."""
    return _LIFETIME.get(role, _CHANNEL_LIFETIME)


def check_channel(name: str) -> None:
    """Refuse a channel name that is not valid in a path, or is the name of another role.

    Raises:
        InputError: the name is not valid.
    """
    if not CHANNEL.fullmatch(name):
        raise InputError(f"channel {name!r}: use a-z, 0-9 and '-', at most 32 characters")
    if _RESERVED.fullmatch(name):
        raise InputError(f"channel {name!r}: Windows reserves this file name; choose another")
    if name in _LIFETIME or name.startswith(f"{ROOT}-"):
        raise InputError(f"channel {name!r}: this is the name of another key; choose another")


def first_root(keys: Mapping[str, Iterable[Key]]) -> Root:
    """Return version 1 of the root, with the keys of each top-level role."""
    root = Root(consistent_snapshot=True)
    root.roles[ROOT].threshold = THRESHOLD
    for role in TOP_LEVEL:
        for key in keys[role]:
            root.add_key(key, role)
    return root


def first_targets() -> Targets:
    """Return targets metadata without delegations."""
    return Targets(delegations=Delegations({}, {}))


def delegate(targets: Targets, role: str, key: Key) -> None:
    """Delegate a channel or the brake to a key."""
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        raise InputError("targets has no delegations; start with `first_targets`")
    delegations.roles[role] = DelegatedRole(role, [], 1, True, _paths(role))
    targets.add_key(key, role)


def channels_of(targets: Targets) -> list[str]:
    """Return the channels that targets metadata delegates to, in its order."""
    roles = targets.delegations.roles if targets.delegations else None
    return [role for role in roles or () if role != BRAKE]


def _paths(role: str) -> list[str]:
    if role == BRAKE:
        return ["halts/*"]
    return [f"channels/{role}/*", f"channels/{role}/deltas/*"]
