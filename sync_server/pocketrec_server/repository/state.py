"""Read and verify the signed metadata of a repository, change it in memory, write it in order.

    metadata/N.root.json      every version, also signed by the keys of the previous version
    metadata/N.ROLE.json      snapshot, targets, each channel, brake
    metadata/timestamp.json   names the snapshot; its rename makes a change visible

Only verified metadata is signed again. So an attacker who can write to the folder, but has no key,
cannot make a later publish sign their files.
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
"""Wait for another writer. A renewal takes far less; making deltas can take longer."""


@dataclass(slots=True)
class State:
    """Metadata that the newest timestamp names, and the changes to it.

    `changed` holds the roles that `write` has to sign.
    """

    root: Root
    before: Root | None = None
    """Previous root, if `root` is a new version; its keys have to sign the new version too."""
    timestamp: Timestamp = field(default_factory=Timestamp)
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(meta={}))
    targets: dict[str, Targets] = field(default_factory=dict)
    """Metadata of `targets` itself and of each role that it delegates to."""
    versions: dict[str, int] = field(default_factory=dict)
    """Version of each role, as the timestamp names it; new roles are missing."""
    changed: set[str] = field(default_factory=set)

    def edit(self, role: str) -> Targets:
        """Return the metadata of targets, a channel or the brake for a change; `write` signs it."""
        self.changed.add(role)
        return self.targets[role]

    def next_root(self) -> Root:
        """Start the next version of the root, and return it for changes."""
        self.changed.add(ROOT)
        self.before, self.root = self.root, copy.deepcopy(self.root)
        self.root.version += 1
        return self.root

    def signed(self) -> dict[str, Signed]:
        """Return all metadata by role, top-level roles first."""
        top: dict[str, Signed] = {ROOT: self.root, TIMESTAMP: self.timestamp}
        return top | {SNAPSHOT: self.snapshot} | self.targets

    def signer(self, role: str, signers: Signers) -> Signer:
        """Open the signer of a role other than root.

        Raises:
            KeysInvalidError: the key is missing or cannot be opened.
            RepositoryInvalidError: the key is not one of this repository.
        """
        by = self.root if role in (TARGETS, SNAPSHOT, TIMESTAMP) else self.targets[TARGETS]
        signer, keyids = signers[role], by.get_delegated_role(role).keyids
        if signer.public_key.keyid not in keyids:
            raise RepositoryInvalidError(
                f"{signers.path(role)}: the {role} key is not this repository's. Expected key "
                f"{', '.join(key[:12] for key in keyids)}, found {signer.public_key.keyid[:12]}."
            )
        return signer

    def write(self, repo: Path, signers: Signers, now: datetime | None = None) -> list[str]:
        """Sign the changed metadata, then write it: targets, snapshot, root, timestamp.

        Returns:
            The signed roles, in this order.

        Raises:
            KeysInvalidError: a key that has to sign is missing; nothing was written.
            RepositoryInvalidError: a key is not one of this repository; nothing was written.
            PocketRecError: the disk is full; devices still see the old state.
        """
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        files: dict[str, bytes] = {}
        signers.require([*sorted(self.changed & self.targets.keys()), SNAPSHOT, TIMESTAMP])
        for role in sorted(self.changed & self.targets.keys()):
            data = self._signed(role, self.targets[role], signers, now)
            files[f"{self.targets[role].version}.{role}.json"] = data
            self.snapshot.meta[f"{role}.json"] = _meta(self.targets[role], data)
        if files or SNAPSHOT in self.changed:
            data = self._signed(SNAPSHOT, self.snapshot, signers, now)
            files[f"{self.snapshot.version}.{SNAPSHOT}.json"] = data
            self.timestamp.snapshot_meta = _meta(self.snapshot, data)
        if ROOT in self.changed:
            files[f"{self.root.version}.{ROOT}.json"] = self._signed_root(signers, now)
        files["timestamp.json"] = self._signed(TIMESTAMP, self.timestamp, signers, now)
        for name, data in files.items():
            write_atomic(repo / "metadata" / name, data)
        self.changed.clear()
        return [name.split(".")[-2] for name in files]

    def _signed(self, role: str, signed: Signed, signers: Signers, now: datetime) -> bytes:
        signed.version = self.versions.get(role, 0) + 1
        signed.expires = now + lifetime(role)
        metadata = _metadata(signed)
        _sign(metadata, self.signer(role, signers), role)
        return metadata.to_bytes(JSONSerializer(compact=True))

    def _signed_root(self, signers: Signers, now: datetime) -> bytes:
        """Sign a root with the keys of its own root role, and of the previous root."""
        self.root.expires = now + lifetime(ROOT)
        metadata = _metadata(self.root)
        roots = [root for root in (self.before, self.root) if root]
        for path in filter(None, map(signers.path, signers.root_names())):
            signer = signers.open(path)
            if any(signer.public_key.keyid in root.roles[ROOT].keyids for root in roots):
                _sign(metadata, signer, path.stem)
        for root in roots:
            result = root.get_verification_result(ROOT, metadata.signed_bytes, metadata.signatures)
            if not result:
                folders = ", ".join(map(str, signers.folders))
                raise RepositoryInvalidError(
                    f"{folders}: {result.threshold} root keys have to sign, and "
                    f"{len(result.signed)} of them are here (root-1.pem, root-2.pem, ...). "
                    "Add the folders of the other keys with --keys."
                )
        return metadata.to_bytes(JSONSerializer(compact=True))


def load(repo: Path, *, cut_short: bool = False) -> State:
    """Read the metadata that the timestamp names, and check every signature and hash.

    Expired metadata is accepted.

    Args:
        repo: folder of the repository.
        cut_short: also accept metadata that the keys of the previous root signed, as an
            interrupted change of keys leaves it.

    Raises:
        RepositoryInvalidError: the repository is missing, its metadata is damaged or not signed by
            its role, or its layout is that of an older pocketrec.
    """
    check_founded(repo)
    folder = repo / "metadata"
    roots = proved_roots(folder)
    try:
        loaded = _named(folder, roots[-1])
    except RepositoryInvalidError:
        if not cut_short or len(roots) == 1:
            raise
        loaded = _named(folder, roots[-2])
    loaded.root = roots[-1]
    return loaded


def exists(repo: Path) -> bool:
    """Return whether the folder holds a repository."""
    return (repo / "metadata" / "timestamp.json").exists()


def check_founded(repo: Path) -> None:
    """Refuse a folder without a repository.

    Raises:
        RepositoryInvalidError: the folder holds no repository.
    """
    if not exists(repo) and not (repo / "metadata" / f"1.{ROOT}.json").exists():
        problem = "no repository is here" if repo.is_dir() else "no such folder"
        raise RepositoryInvalidError(
            f"{repo}: {problem}, nothing is published. Check --repo, or make a new repository with "
            "`pocketrec repo init`."
        )


@contextmanager
def writing(repo: Path, wait_s: float = LOCK_WAIT_S, *, founds: bool = False) -> Iterator[None]:
    """Lock a repository for one writer; the kernel frees the lock if the process is killed.

    Args:
        repo: folder of the repository.
        wait_s: maximum wait for another writer.
        founds: create the folder of a new repository.

    Raises:
        RepositoryInvalidError: the repository is missing, or another process is still writing.
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
    for name in sorted(snapshot.meta, key=lambda file_name: file_name != f"{TARGETS}.json"):
        role, meta = name.removesuffix(".json"), snapshot.meta[name]
        by = targets[TARGETS] if targets else root
        path = folder / f"{meta.version}.{role}.json"
        targets[role] = proved(path, Targets, by, role, meta)
    loaded = State(root, None, stamp, snapshot, targets)
    loaded.versions = {role: signed.version for role, signed in loaded.signed().items()}
    return loaded


def _sign(metadata: Metadata[Any], signer: Signer, name: str) -> None:
    try:
        metadata.sign(signer, append=True)
    except UnsignedMetadataError as err:  # e.g. a KMS that cannot be reached
        raise KeysInvalidError(f"the {name} key could not sign: {err.__cause__}") from err


def _metadata(signed: Signed) -> Metadata[Any]:
    return Metadata(signed)


def _meta(signed: Signed, data: bytes) -> MetaFile:
    return MetaFile(signed.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
