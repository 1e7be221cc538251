"""The audit trail of a repository: who changed what, when and why, signed by the changed role.

    history/<sha256>.ROLE.json    the newest changes of one role, oldest first

The role's metadata names the hash and size of this file in the field `x-pocketrec-history`, which
TUF readers ignore (TUF 1.0.31, 4.1). The file is not a target, because it names people and
machines: devices, mirrors and CDNs never get it. `by` is only a claim; the signature proves which
key made the change.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuf.api.metadata import Signed

from pocketrec_bundle.disk.files import canonical_json, write_atomic_parts
from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, is_text, parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.roles import BRAKE, ROOT, TARGETS, TIMESTAMP
from pocketrec_server.repository.state import State

FIELD = "x-pocketrec-history"
FOLDER = "history"
FORMAT = 1
MAX_CHANGES = 500
"""Maximum number of changes that a role keeps; older ones are only counted."""
MAX_BYTES = 1 << 20
MAX_TEXT = 200
LOST = "history lost"
"""Action of the entry that replaces changes whose file is missing, e.g. in a mirror."""


def _is_line(value: object) -> bool:
    return is_text(value, MAX_TEXT) and str(value).isprintable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Who makes a change and why, in their own words.

    Attributes:
        by: who makes the change, e.g. alice@build-7; "" if unknown.
        reason: why; may be "".

    Raises:
        InputError: a text is longer than `MAX_TEXT`, or has control characters.
    """

    by: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("by", "reason"):
            if not _is_line(getattr(self, name)):
                raise InputError(
                    f"{name}: expected one line of at most {MAX_TEXT} printable characters."
                )


NOBODY = Note()
"""Note of a change by an unknown person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a repository.

    Attributes:
        when_utc: time of the change, unix seconds.
        by: who made it, e.g. alice@build-7; "" if unknown.
        action: e.g. publish, stage, rollback, halt or rotate.
        channel: the channel; "" for keys of all channels.
        subject: name of the release or key; "" for a channel's settings.
        manifest: hash of the release's manifest, or "".
        before: short text of the old state; "" if it did not exist.
        after: short text of the new state.
        reason: reason that the person gave; may be "".
        role: role whose key signed the change.
        version: version of the repository's timestamp, which increases with each change.
    """

    when_utc: int
    by: str
    action: str
    channel: str
    subject: str
    manifest: str
    before: str
    after: str
    reason: str
    role: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The changes of one role.

    Attributes:
        changes: the newest changes, oldest first.
        dropped: number of older changes that are no longer listed.
        format: version of the file format.
    """

    changes: tuple[Change, ...] = ()
    dropped: int = 0
    format: int = field(default=FORMAT)


def policy_history(repo: Path, channel: str) -> list[Change]:
    """List the changes of a channel's policy, its halts and its key, newest first.

    Raises:
        RepositoryInvalidError: nothing is published, or the repository is damaged.
    """
    current = state.load(repo)
    roles = [role for role in (channel, BRAKE, TARGETS) if role in current.targets]
    return _newest_first(
        change
        for role in roles
        for change in read(repo, current, role)
        if change.channel == channel
    )


def key_history(repo: Path) -> list[Change]:
    """List the changes of all keys, newest first. Raises the errors of `policy_history`."""
    current = state.load(repo)
    return _newest_first(change for role in (ROOT, TARGETS) for change in read(repo, current, role))


def whole_history(repo: Path) -> list[Change]:
    """List all changes of a repository, newest first. Raises the errors of `policy_history`."""
    current = state.load(repo)
    return _newest_first(
        change for role in (ROOT, *current.targets) for change in read(repo, current, role)
    )


def record(
    repo: Path,
    current: State,
    role: str,
    note: Note,
    action: str,
    *,
    channel: str = "",
    subject: str = "",
    manifest: str = "",
    before: str = "",
    after: str = "",
) -> None:
    """Add a change to a role's history. `State.write` signs it with the role's metadata.

    Args:
        repo: folder of the repository.
        current: state of the repository; the caller marks the role as changed.
        role: root, targets, a channel or brake.
        note: who makes the change, and why.
        action: this and all that follow: see `Change`.
        channel: the channel.
        subject: name of the release or key.
        manifest: hash of the release's manifest.
        before: the old state.
        after: the new state.

    Raises:
        PocketRecError: the disk is full.
    """
    signed = current.signed()[role]
    past = _read(repo, role, signed)
    change = Change(
        when_utc=int(time.time()),
        by=note.by,
        action=action,
        channel=channel,
        subject=line(subject),
        manifest=manifest,
        before=line(before),
        after=line(after),
        reason=note.reason,
        role=role,
        version=current.versions.get(TIMESTAMP, 0) + 1,
    )
    kept = (*past.changes, change)
    n_changes = past.dropped + len(kept)
    kept = kept[-MAX_CHANGES:]
    while len(data := _encoded(kept, n_changes - len(kept))) > MAX_BYTES:
        kept = kept[len(kept) // 4 + 1 :]
    sha256 = hashlib.sha256(data).hexdigest()
    write_atomic_parts(path_of(repo, role, sha256), [data], mode=0o640)
    signed.unrecognized_fields[FIELD] = {"length": len(data), "sha256": sha256}


def read(repo: Path, current: State, role: str) -> tuple[Change, ...]:
    """Read the changes of a role, oldest first; a missing file gives one change LOST."""
    return _read(repo, role, current.signed()[role]).changes


def line(text: str) -> str:
    """Convert a text to one printable line of at most MAX_TEXT characters."""
    shown = "".join(one if one.isprintable() else "?" for one in text)
    return shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 3]}..."


def path_of(repo: Path, role: str, sha256: str) -> Path:
    """Return the path of a history file."""
    return repo / FOLDER / f"{sha256}.{role}.json"


def named(repo: Path, current: State) -> list[Path]:
    """List the history files that the metadata of a state names."""
    facts = [(role, _fact(signed)) for role, signed in current.signed().items()]
    return [path_of(repo, role, fact[0]) for role, fact in facts if fact]


def _read(repo: Path, role: str, signed: Signed) -> History:
    fact = _fact(signed)
    if fact is None:
        return History()
    sha256, length = fact
    try:
        with path_of(repo, role, sha256).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) != length or hashlib.sha256(data).hexdigest() != sha256:
            raise RepositoryInvalidError("its SHA-256 differs from the signed one")
        return _parsed(data)
    except (OSError, BundleInvalidError, RepositoryInvalidError):
        # A lost history must not prevent a kill or a halt.
        return History(changes=(_lost(role, sha256),))


def _fact(signed: Signed) -> tuple[str, int] | None:
    """Return the SHA-256 and size of a role's history; None if the metadata has none."""
    value = signed.unrecognized_fields.get(FIELD)
    if not isinstance(value, dict):
        return None
    sha256, length = value.get("sha256"), value.get("length")
    sound = isinstance(sha256, str) and len(sha256) == 64 and sha256.isalnum()
    if not sound or not is_integer(length, 1, MAX_BYTES):
        return None
    return str(sha256), int(length)  # type: ignore[arg-type]  # checked


def _encoded(changes: tuple[Change, ...], dropped: int) -> bytes:
    return canonical_json(asdict(History(changes=changes, dropped=dropped)))


def _parsed(data: bytes) -> History:
    value = parse_json("history", data, MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != History.__dataclass_fields__.keys():
        raise BundleInvalidError("history: unexpected keys")
    listed, dropped = value["changes"], value["dropped"]
    if not is_integer(value["format"], FORMAT, FORMAT) or not is_integer(dropped, 0, MAX_UTC):
        raise BundleInvalidError(f"history: the format is not {FORMAT}")
    if not isinstance(listed, list) or len(listed) > MAX_CHANGES:
        raise BundleInvalidError(f"history: changes must be a list of at most {MAX_CHANGES}")
    return History(changes=tuple(_change(one) for one in listed), dropped=dropped)


def _change(value: Any) -> Change:
    if not isinstance(value, dict) or value.keys() != Change.__dataclass_fields__.keys():
        raise BundleInvalidError("history: a change lacks keys or has unknown ones")
    for key, one in value.items():
        number = key in ("when_utc", "version")
        if not (is_integer(one, 0, MAX_UTC) if number else _is_line(one)):
            raise BundleInvalidError(f"history: bad {key}")
    return Change(**value)


def _lost(role: str, sha256: str) -> Change:
    return Change(
        when_utc=0,
        by="",
        action=LOST,
        channel="" if role in (ROOT, TARGETS, BRAKE) else role,
        subject="",
        manifest="",
        before="",
        after=f"{FOLDER}/{sha256}.{role}.json is missing or damaged here",
        reason="",
        role=role,
        version=0,
    )


def _newest_first(changes: Iterator[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: change.version, reverse=True)
