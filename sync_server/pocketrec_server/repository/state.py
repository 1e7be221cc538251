"""The signed metadata of a repository: read and proved, changed in memory, written in order.

    metadata/N.root.json      every version, each signed by the keys of the one before it too
    metadata/N.ROLE.json      snapshot, targets, each channel, brake
    metadata/timestamp.json   names the snapshot; its rename makes a change visible

Nothing is signed that was not proved: who can write to the folder but has no key cannot have a
later publish sign what they put there.
"""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from pocketrec_bundle.disk.files import write_atomic, write_failed
from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_server.errors import KeysInvalidError, RepositoryInvalidError
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.proof import proved, proved_roots
from pocketrec_server.repository.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, lifetime

LOCK_WAIT_S = 20.0
"""How long a writer waits for another; renewing takes far less, making deltas may take longer."""


@dataclass(slots=True)
class State:
    """What the newest timestamp names, and what is changed of it."""

    root: Root
    before: Root | None = None
    """The root version before a new one, whose keys have to sign that too."""
    timestamp: Timestamp = field(default_factory=Timestamp)
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(meta={}))
    targets: dict[str, Targets] = field(default_factory=dict)
    """Metadata of `targets` itself and of each role that it delegates to."""
    versions: dict[str, int] = field(default_factory=dict)
    """Of each role, as the timestamp names them; a role that is new has none."""
    changed: set[str] = field(default_factory=set)

    def edit(self, role: str) -> Targets:
        """Return metadata of targets, a channel or the brake, to be changed and signed again."""
        self.changed.add(role)
        return self.targets[role]

    def next_root(self) -> Root:
        """Begin the next version of the root, which may be changed before it is written."""
        self.changed.add(ROOT)
        self.before, self.root = self.root, copy.deepcopy(self.root)
        self.root.version += 1
        return self.root

    def signed(self) -> dict[str, Signed]:
        """All metadata by role, the top level first."""
        top: dict[str, Signed] = {ROOT: self.root, TIMESTAMP: self.timestamp}
        return top | {SNAPSHOT: self.snapshot} | self.targets

    def signer(self, role: str, signers: Signers) -> Signer:
        """Open the signer of a role other than root.

        Raises:
            KeysInvalidError: it is missing or cannot be opened.
            RepositoryInvalidError: it is not this repository's.
        """
        by = self.root if role in (TARGETS, SNAPSHOT, TIMESTAMP) else self.targets[TARGETS]
        signer, keyids = signers[role], by.get_delegated_role(role).keyids
        if signer.public_key.keyid not in keyids:
            raise RepositoryInvalidError(
                f"{signers.path(role)}: the {role} key is not this repository's: that is "
                f"{', '.join(key[:12] for key in keyids)}, not {signer.public_key.keyid[:12]}."
            )
        return signer

    def write(self, repo: Path, signers: Signers, now: datetime | None = None) -> list[str]:
        """Sign what is changed, then write it; the timestamp comes last, a new root before it.

        Returns:
            The roles that were signed, in this order.

        Raises:
            KeysInvalidError: a key that has to sign is missing; nothing was written.
            RepositoryInvalidError: a key is not this repository's; nothing was written.
            PocketRecError: the disk is full; devices see what they saw.
        """
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        made: dict[str, bytes] = {}
        signers.require([*sorted(self.changed & self.targets.keys()), SNAPSHOT, TIMESTAMP])
        for role in sorted(self.changed & self.targets.keys()):
            data = self._signed(role, self.targets[role], signers, now)
            made[f"{self.targets[role].version}.{role}.json"] = data
            self.snapshot.meta[f"{role}.json"] = _meta(self.targets[role], data)
        if made or SNAPSHOT in self.changed:
            data = self._signed(SNAPSHOT, self.snapshot, signers, now)
            made[f"{self.snapshot.version}.{SNAPSHOT}.json"] = data
            self.timestamp.snapshot_meta = _meta(self.snapshot, data)
        if ROOT in self.changed:
            made[f"{self.root.version}.{ROOT}.json"] = self._signed_root(signers, now)
        made["timestamp.json"] = self._signed(TIMESTAMP, self.timestamp, signers, now)
        for name, data in made.items():
            write_atomic(repo / "metadata" / name, data)
        self.changed.clear()
        return [name.split(".")[-2] for name in made]

    def _signed(self, role: str, signed: Signed, signers: Signers, now: datetime) -> bytes:
        signed.version = self.versions.get(role, 0) + 1
        signed.expires = now + lifetime(role)
        metadata = _metadata(signed)
        _sign(metadata, self.signer(role, signers), role)
        return metadata.to_bytes(JSONSerializer(compact=True))

    def _signed_root(self, signers: Signers, now: datetime) -> bytes:
        """Sign a root by the keys of its own root role, and of the one before."""
        self.root.expires = now + lifetime(ROOT)
        metadata = _metadata(self.root)
        wanted = [root for root in (self.before, self.root) if root]
        for path in filter(None, map(signers.path, signers.root_names())):
            signer = signers.open(path)
            if any(signer.public_key.keyid in root.roles[ROOT].keyids for root in wanted):
                _sign(metadata, signer, path.stem)
        for root in wanted:
            found = root.get_verification_result(ROOT, metadata.signed_bytes, metadata.signatures)
            if not found:
                folders = ", ".join(map(str, signers.folders))
                raise RepositoryInvalidError(
                    f"{folders}: {found.threshold} root keys have to sign, and {len(found.signed)} "
                    "of them are here (root-1.pem, root-2.pem, ...). Add the folders of more by "
                    "--keys."
                )
        return metadata.to_bytes(JSONSerializer(compact=True))


def load(repo: Path, *, cut_short: bool = False) -> State:
    """Read what the timestamp names, every signature and hash checked; expired or not.

    Args:
        repo: the repository.
        cut_short: what is signed by the keys of the root before the newest counts too.

    Raises:
        RepositoryInvalidError: nothing is published, metadata is damaged or not signed by its role,
            or the layout is that of an older pocketrec.
    """
    check_founded(repo)
    folder = repo / "metadata"
    roots = proved_roots(folder)
    try:
        found = _named(folder, roots[-1])
    except RepositoryInvalidError:
        if not cut_short or len(roots) == 1:
            raise
        found = _named(folder, roots[-2])
    found.root = roots[-1]
    return found


def exists(repo: Path) -> bool:
    """Whether a repository was founded here."""
    return (repo / "metadata" / "timestamp.json").exists()


def check_founded(repo: Path) -> None:
    """Refuse a folder that is no repository.

    Raises:
        RepositoryInvalidError: it is none.
    """
    if not exists(repo) and not (repo / "metadata" / f"1.{ROOT}.json").exists():
        found = "no repository is here" if repo.is_dir() else "no such folder"
        raise RepositoryInvalidError(
            f"{repo}: {found}, nothing is published. Check --repo, or make a new repository with "
            "`pocketrec repo init`."
        )


@contextmanager
def writing(repo: Path, wait_s: float = LOCK_WAIT_S, *, founds: bool = False) -> Iterator[None]:
    """One writer at a time; the kernel frees the lock if its holder is killed.

    Args:
        repo: the repository.
        wait_s: how long to wait for another writer.
        founds: make the folder of a new repository.

    Raises:
        RepositoryInvalidError: there is no repository, or another one is writing still.
    """
    if not founds:
        check_founded(repo)
    try:
        repo.mkdir(parents=True, exist_ok=True)
        lock = LockedFile(repo / "lock", wait_s=wait_s)
    except BlockingIOError as err:
        raise RepositoryInvalidError(f"{repo}: another publish is running.") from err
    except OSError as err:
        raise write_failed(repo, err) from err
    with lock:
        yield


def _named(folder: Path, root: Root) -> State:
    path = folder / "timestamp.json"
    stamp = proved(path, Timestamp, root, TIMESTAMP, None)
    named = stamp.snapshot_meta
    snapshot = proved(folder / f"{named.version}.{SNAPSHOT}.json", Snapshot, root, SNAPSHOT, named)
    targets: dict[str, Targets] = {}
    for name in sorted(snapshot.meta, key=lambda each: each != f"{TARGETS}.json"):
        role, meta = name.removesuffix(".json"), snapshot.meta[name]
        by = targets[TARGETS] if targets else root
        path = folder / f"{meta.version}.{role}.json"
        targets[role] = proved(path, Targets, by, role, meta)
    found = State(root, None, stamp, snapshot, targets)
    found.versions = {role: signed.version for role, signed in found.signed().items()}
    return found


def _sign(metadata: Metadata[Any], signer: Signer, name: str) -> None:
    try:
        metadata.sign(signer, append=True)
    except UnsignedMetadataError as err:  # such as a KMS that cannot be reached
        raise KeysInvalidError(f"the {name} key could not sign: {err.__cause__}") from err


def _metadata(signed: Signed) -> Metadata[Any]:
    return Metadata(signed)


def _meta(signed: Signed, data: bytes) -> MetaFile:
    return MetaFile(signed.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
