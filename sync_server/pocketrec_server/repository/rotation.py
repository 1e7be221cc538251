"""Replace signing keys. Devices follow from the root that they have.

Use `rotate` for a key that is lost or old. Use `revoke` for a key that may be stolen.

`revoke` always replaces snapshot and timestamp together. With a stolen online key, an attacker can
give devices version numbers that the repository will never reach (fast-forward attack; TUF 1.0.31,
5.3.11). Devices reset their version numbers of snapshot and timestamp only if both keys are new.

    NAME.next.pem    (or .uri) the new key, until it is in place; an interrupted change reuses it
    NAME.pem.KEYID   the old key, once the new one is in place
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from pocketrec_bundle.errors import InputError
from pocketrec_server.repository import state
from pocketrec_server.repository.history import NOBODY, Note, record
from pocketrec_server.repository.keys import Signers, make_key, next_name
from pocketrec_server.repository.roles import (
    BRAKE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    channels_of,
    check_channel,
    delegate,
)
from pocketrec_server.repository.state import State

ROTATE, REVOKE = "rotate", "revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Result of a change of keys.

    Attributes:
        keys: file of each new key, by the key's name.
        root_version: version of the root afterwards.
        signed: roles whose metadata was signed.
    """

    keys: dict[str, str]
    root_version: int
    signed: list[str]


def rotate(
    repo: Path,
    signers: Signers,
    names: Sequence[str],
    passphrase: str | None = None,
    note: Note = NOBODY,
    action: str = ROTATE,
) -> Rotation:
    """Replace keys, and sign the metadata of their roles with the new keys.

    These keys have to sign:
    - for a top-level key: two root keys
    - for the key of a channel or of the brake: targets
    - always: snapshot and timestamp

    Args:
        repo: folder of the repository.
        signers: the available signers; a lost key may be missing.
        names: names of the keys, such as `root-1`, `timestamp` or a channel.
        passphrase: passphrase of the new keys.
        note: who makes the change, and why.
        action: name of the action in the history.

    Raises:
        InputError: a key name is unknown, or the lost root key cannot be identified.
        KeysInvalidError: a key that has to sign is missing.
        RepositoryInvalidError: the repository is damaged or being written, or too few root keys are
            available. Nothing was changed. The new keys stay as NAME.next.pem for the next attempt.
    """
    names = list(dict.fromkeys(names))
    with state.writing(repo):
        current = state.load(repo, cut_short=True)
        for name in names:
            _check_name(current, name)
        for name in names:
            if next_name(name) not in signers:
                make_key(_folder(signers, name), next_name(name), passphrase)
            signers.take_next(name)
            if swapped := _replace(current, signers, name):
                role = ROOT if _is_top(name) else TARGETS
                channel = name if name in channels_of(current.targets[TARGETS]) else ""
                facts = {"subject": name, "channel": channel}
                keys = dict(zip(("before", "after"), swapped, strict=True))
                record(repo, current, role, note, action, **facts, **keys)
        signed = current.write(repo, signers)
        keys = {name: str(signers.put_in_place(name)) for name in names}
        return Rotation(keys=keys, root_version=current.root.version, signed=signed)


def revoke(
    repo: Path,
    signers: Signers,
    names: Sequence[str],
    passphrase: str | None = None,
    note: Note = NOBODY,
) -> Rotation:
    """Replace keys that may be stolen; snapshot and timestamp are always replaced together.

    Arguments and errors are those of `rotate`.
    """
    online = (SNAPSHOT, TIMESTAMP)
    more = [name for name in online if set(online) & set(names) and name not in names]
    return rotate(repo, signers, [*names, *more], passphrase, note, REVOKE)


def add_channel(
    repo: Path,
    signers: Signers,
    channel: str,
    passphrase: str | None = None,
    note: Note = NOBODY,
) -> Path | None:
    """Add a channel: delegate it to the key of its name, which is made if it does not exist.

    Returns:
        File of the key.

    Raises:
        InputError: the name is not valid, or the channel exists already.
        KeysInvalidError: the key of targets, snapshot or timestamp is missing.
        RepositoryInvalidError: the repository is damaged or being written.
    """
    check_channel(channel)
    with state.writing(repo):
        current = state.load(repo)
        if channel in current.targets:
            raise InputError(f"{repo}: has a channel {channel!r} already.")
        signers.require([TARGETS, SNAPSHOT, TIMESTAMP])
        for role in (TARGETS, SNAPSHOT, TIMESTAMP):
            current.signer(role, signers)
        if channel not in signers:
            make_key(signers.folders[0], channel, passphrase)
        delegate(current.edit(TARGETS), channel, signers[channel].public_key)
        current.targets[channel] = Targets()
        current.changed.add(channel)
        key = signers[channel].public_key.keyid
        facts = {"subject": channel, "channel": channel, "after": _short([key])}
        record(repo, current, TARGETS, note, "add-channel", **facts)
        current.write(repo, signers)
        return signers.path(channel)


def _check_name(current: State, name: str) -> None:
    roots = len(current.root.roles[ROOT].keyids)
    known = [f"{ROOT}-{n + 1}" for n in range(roots)]
    known += [*TOP_LEVEL[1:], BRAKE, *channels_of(current.targets[TARGETS])]
    if name not in known:
        raise InputError(f"no key {name!r}; known keys: {', '.join(known)}.")


def _folder(signers: Signers, name: str) -> Path:
    path = signers.path(name)
    return path.parent if path else signers.folders[0]


def _is_top(name: str) -> bool:
    return name in TOP_LEVEL or name.startswith(f"{ROOT}-")


def _replace(current: State, signers: Signers, name: str) -> tuple[str, str] | None:
    """Replace a key in the metadata that names it: root or targets.

    Returns:
        Short key ids before and after; None if an interrupted change has replaced the key already.
    """
    new = signers[name].public_key
    old: list[str] | None = None
    if _is_top(name):
        role = name if name in TOP_LEVEL else ROOT
        if new.keyid not in current.root.roles[role].keyids:  # else an interrupted change did it
            root = current.root if ROOT in current.changed else current.next_root()
            old = _old(root, signers, name)
            _swap(root, role, old, new)
        if role not in (ROOT, TIMESTAMP):
            current.changed.add(role)
    else:
        by = current.edit(TARGETS)
        if new.keyid not in by.get_delegated_role(name).keyids:
            old = list(by.get_delegated_role(name).keyids)
            _swap(by, name, old, new)
        current.changed.add(name)
    return None if old is None else (_short(old), _short([new.keyid]))


def _short(keyids: list[str]) -> str:
    return "key " + ", ".join(keyid[:12] for keyid in keyids)


def _swap(by: Root | Targets, role: str, old: list[str], new: Key) -> None:
    for keyid in old:
        by.revoke_key(keyid, role)
    by.add_key(new, role)


def _old(root: Root, signers: Signers, name: str) -> list[str]:
    """Return the ids of the key to replace; a lost root key is the one that is not available."""
    if name in TOP_LEVEL:
        return list(root.roles[name].keyids)
    own = root.roles[ROOT].keyids
    if path := signers.path(name):
        keyid = signers.open(path).public_key.keyid
        if keyid in own:
            return [keyid]
    others = [other for other in signers.root_names() if other != name]
    here = {signers[other].public_key.keyid for other in others}
    lost = [keyid for keyid in own if keyid not in here]
    if len(lost) != 1:
        raise InputError(
            f"{name} is not here, and {len(lost)} root keys are missing, so it is not clear which "
            "one it is. Add the folders of the other root keys with --keys."
        )
    return lost
