"""Change keys: new ones take the place of old ones, and devices follow from the root they have.

A key is lost or old: `rotate`. A key may be in other hands: `revoke`, which differs in one point: a
thief of an online key can leave devices with version numbers that no honest ones will reach (a
fast-forward attack; TUF 1.0.31, 5.3.11), and devices forget those of snapshot and timestamp only
when both keys are new.

    NAME.next.pem    (or .uri) the key to come; a change that was cut short goes on with it
    NAME.pem.KEYID   the key that was, once the new one is in place
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
    """What a change of keys did: where the new keys lie, the root's version, what was signed."""

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
    """Put new keys in the place of old ones, and sign again what these signed.

    A key of the top level takes two keys of root besides; a channel's or the brake's takes that of
    targets. All take snapshot and timestamp.

    Args:
        repo: the repository.
        signers: those that are here; a key that is lost may be missing.
        names: of keys, as `root-1`, `timestamp` or a channel.
        passphrase: of the new keys.
        note: who and why.
        action: what the history calls it.

    Raises:
        InputError: there is no such key, or it cannot be told which one was lost.
        KeysInvalidError: a key that has to sign is missing.
        RepositoryInvalidError: the repository is damaged or being written, or too few root keys are
            here. Nothing was changed; new keys lie as NAME.next.pem for the next try.
    """
    names = list(dict.fromkeys(names))
    with state.writing(repo):
        found = state.load(repo, cut_short=True)
        for name in names:
            _check_name(found, name)
        for name in names:
            if next_name(name) not in signers:
                make_key(_folder(signers, name), next_name(name), passphrase)
            signers.take_next(name)
            if swapped := _replace(found, signers, name):
                role = ROOT if _is_top(name) else TARGETS
                channel = name if name in channels_of(found.targets[TARGETS]) else ""
                told = {"subject": name, "channel": channel}
                keys = dict(zip(("before", "after"), swapped, strict=True))
                record(repo, found, role, note, action, **told, **keys)
        signed = found.write(repo, signers)
        keys = {name: str(signers.put_in_place(name)) for name in names}
        return Rotation(keys=keys, root_version=found.root.version, signed=signed)


def revoke(
    repo: Path,
    signers: Signers,
    names: Sequence[str],
    passphrase: str | None = None,
    note: Note = NOBODY,
) -> Rotation:
    """Rotate keys that may be in other hands; of snapshot and timestamp always both.

    Args and errors as of `rotate`.
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
    """Delegate a channel to a key, which is made if there is none of its name.

    Returns:
        The key's file.

    Raises:
        InputError: the name is not fit, or there is such a channel.
        KeysInvalidError: the key of targets, snapshot or timestamp is missing.
        RepositoryInvalidError: the repository is damaged or being written.
    """
    check_channel(channel)
    with state.writing(repo):
        found = state.load(repo)
        if channel in found.targets:
            raise InputError(f"{repo}: has a channel {channel!r} already.")
        signers.require([TARGETS, SNAPSHOT, TIMESTAMP])
        for role in (TARGETS, SNAPSHOT, TIMESTAMP):
            found.signer(role, signers)
        if channel not in signers:
            make_key(signers.folders[0], channel, passphrase)
        delegate(found.edit(TARGETS), channel, signers[channel].public_key)
        found.targets[channel] = Targets()
        found.changed.add(channel)
        key = signers[channel].public_key.keyid
        told = {"subject": channel, "channel": channel, "after": _short([key])}
        record(repo, found, TARGETS, note, "add-channel", **told)
        found.write(repo, signers)
        return signers.path(channel)


def _check_name(found: State, name: str) -> None:
    roots = len(found.root.roles[ROOT].keyids)
    known = [f"{ROOT}-{n + 1}" for n in range(roots)]
    known += [*TOP_LEVEL[1:], BRAKE, *channels_of(found.targets[TARGETS])]
    if name not in known:
        raise InputError(f"no key {name!r}; there are {', '.join(known)}.")


def _folder(signers: Signers, name: str) -> Path:
    path = signers.path(name)
    return path.parent if path else signers.folders[0]


def _is_top(name: str) -> bool:
    return name in TOP_LEVEL or name.startswith(f"{ROOT}-")


def _replace(found: State, signers: Signers, name: str) -> tuple[str, str] | None:
    """Change who may sign, in the root or in targets.

    Returns:
        Key ids before and after, in short; None if a change that was cut short had done it.
    """
    new = signers[name].public_key
    old: list[str] | None = None
    if _is_top(name):
        role = name if name in TOP_LEVEL else ROOT
        if new.keyid not in found.root.roles[role].keyids:  # else a change was cut short
            root = found.root if ROOT in found.changed else found.next_root()
            old = _old(root, signers, name)
            _swap(root, role, old, new)
        if role not in (ROOT, TIMESTAMP):
            found.changed.add(role)
    else:
        by = found.edit(TARGETS)
        if new.keyid not in by.get_delegated_role(name).keyids:
            old = list(by.get_delegated_role(name).keyids)
            _swap(by, name, old, new)
        found.changed.add(name)
    return None if old is None else (_short(old), _short([new.keyid]))


def _short(keyids: list[str]) -> str:
    return "key " + ", ".join(keyid[:12] for keyid in keyids)


def _swap(by: Root | Targets, role: str, old: list[str], new: Key) -> None:
    for keyid in old:
        by.revoke_key(keyid, role)
    by.add_key(new, role)


def _old(root: Root, signers: Signers, name: str) -> list[str]:
    """Key ids that a top-level key stands for; that of a lost root key is found by its absence."""
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
            f"{name} is not here, and {len(lost)} keys of root may be it. Give the folders of the "
            "other root keys with --keys, too."
        )
    return lost
