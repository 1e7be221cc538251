"""The signed repository: a folder that any static file server could hand out (TUF 1.0.31).

    metadata/N.root.json  N.targets.json  N.snapshot.json  timestamp.json
    targets/files/<sha256>.<sha256>       targets/channels/<channel>/<sha256>.manifest.json
    targets/deltas/<sha256>.<to>.<from>   (deltas.py)

The target of a channel's manifest names the releases before it in its custom metadata.

A publish writes blobs, then targets, then snapshot, and last the timestamp by one rename: until
then devices see the old release, and a killed publish is simply run again.
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from bundle.errors import InputError
from bundle.files import write_atomic, write_failed
from bundle.manifest import Manifest, parse_manifest
from bundle.reader import open_bundle, verify_file
from sync_server import deltas
from sync_server.errors import RepositoryInvalid

EXPIRY = {
    "root": timedelta(days=365),
    "targets": timedelta(days=90),
    "snapshot": timedelta(days=30),
    "timestamp": timedelta(days=30),
}
KEEP, MOST_KEPT = 3, 20
"""Releases before the newest from which deltas are made, by default and at most."""
_CHANNEL = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What a publish did; new_bytes are those of files the repository did not have.

    deltas and delta_bytes count what is there for phones that have a release before this one.
    """

    release: str
    channel: str
    version: int
    changed: bool
    new_files: int
    new_bytes: int
    deltas: int
    delta_bytes: int


def publish(
    bundle_dir: Path,
    repo: Path,
    signers: dict[str, CryptoSigner],
    channel: str,
    *,
    keep: int = KEEP,
    tell: deltas.Tell = lambda _done, _total, _name: None,
) -> PublishReport:
    """Verify a bundle, store its files, and make it the release of a channel.

    Args:
        bundle_dir: the bundle.
        repo: the repository.
        signers: one a role.
        channel: its name.
        keep: make deltas from so many releases before this one; 0 makes none.
        tell: see `deltas.make_missing`.

    Raises:
        BundleInvalid: the bundle fails its checks.
        InputError: the channel's name is not fit for a path.
        RepositoryInvalid: the keys are not this repository's, or another publish is running.
        PocketRecError: the disk is full; devices still see the old release.
    """
    if not _CHANNEL.fullmatch(channel):
        raise InputError(f"channel {channel!r}: use a-z, 0-9 and '-', at most 32 characters")
    manifest = open_bundle(bundle_dir).manifest
    data = (bundle_dir / "manifest.json").read_bytes()
    with _lock(repo):
        _ensure_root(repo, signers)
        state = _State.load(repo)
        path = f"channels/{channel}/manifest.json"
        target = TargetFile.from_data(path, data, ["sha256"])
        known = state.targets.targets.get(path)
        if known is not None and known.hashes == target.hashes and not _expires_soon(state):
            return _report(manifest, channel, state, [], {}, changed=False)
        before = _before(known, target.hashes["sha256"], keep)
        target.unrecognized_fields["custom"] = {"before": before}
        try:
            added = _store_files(repo, bundle_dir, manifest)
            folder = repo / "targets" / "channels" / channel
            write_atomic(folder / f"{target.hashes['sha256']}.manifest.json", data)
            wanted = deltas.pairs(manifest, _manifests(repo, channel, before))
            made = deltas.make_missing(repo, wanted, state.targets.targets, tell)
        except OSError as err:
            raise write_failed(repo, err) from err
        state.targets.targets |= {path: target, **made}
        _drop_unused(repo, state.targets)
        state.sign_and_write(repo, signers)
        deltas.remove_others(repo, state.targets.targets)
        return _report(manifest, channel, state, added, made, changed=True)


def refresh(repo: Path, signers: dict[str, CryptoSigner]) -> int:
    """Sign the same content again with new expiry dates; returns the new version.

    Raises:
        RepositoryInvalid: nothing is published yet, or the keys are not this repository's.
    """
    with _lock(repo):
        _ensure_root(repo, signers)
        state = _State.load(repo)
        state.sign_and_write(repo, signers)
        return state.version


@dataclass(slots=True)
class _State:
    version: int
    targets: Targets
    expires: datetime | None

    @classmethod
    def load(cls, repo: Path) -> "_State":
        """Read what the timestamp names; files of a killed publish are not named and not read."""
        path = repo / "metadata" / "timestamp.json"
        if not path.exists():
            return cls(0, Targets(), None)
        try:
            stamp = Metadata[Timestamp].from_file(str(path)).signed
            version = stamp.version
            named = repo / "metadata" / f"{version}.targets.json"
            return cls(version, Metadata[Targets].from_file(str(named)).signed, stamp.expires)
        except (RepositoryError, OSError, ValueError) as err:
            raise RepositoryInvalid(f"{path}: damaged ({err}). Restore the repository.") from err

    def sign_and_write(self, repo: Path, signers: dict[str, CryptoSigner]) -> None:
        """Write the next version of targets, snapshot and timestamp, in this order."""
        self.version = version = self.version + 1
        now = datetime.now(UTC).replace(microsecond=0)
        targets, snapshot, stamp = self.targets, Snapshot(), Timestamp()
        targets.version = snapshot.version = stamp.version = version
        for signed in (targets, snapshot, stamp):
            signed.expires = now + EXPIRY[signed.type]
        folder = repo / "metadata"
        data = _signed(targets, signers["targets"])
        write_atomic(folder / f"{version}.targets.json", data)
        snapshot.meta = {"targets.json": _meta(version, data)}
        data = _signed(snapshot, signers["snapshot"])
        write_atomic(folder / f"{version}.snapshot.json", data)
        stamp.snapshot_meta = _meta(version, data)
        write_atomic(folder / "timestamp.json", _signed(stamp, signers["timestamp"]))


def _signed(signed: Signed, signer: CryptoSigner) -> bytes:
    metadata = Metadata(signed)  # type: ignore[type-var]  # it wants one of the four by name
    metadata.sign(signer)
    return metadata.to_bytes(JSONSerializer(compact=True))


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def _ensure_root(repo: Path, signers: dict[str, CryptoSigner]) -> None:
    """Write root version 1 once; refuse keys that are not in it."""
    path = repo / "metadata" / "1.root.json"
    if not path.exists():
        root = Root(consistent_snapshot=True)
        root.expires = datetime.now(UTC).replace(microsecond=0) + EXPIRY["root"]
        for role, signer in signers.items():
            root.add_key(signer.public_key, role)
        write_atomic(path, _signed(root, signers["root"]))
    try:
        known = Metadata[Root].from_file(str(path)).signed
    except (RepositoryError, OSError, ValueError) as err:
        raise RepositoryInvalid(f"{path}: damaged ({err}).") from err
    for role, signer in signers.items():
        if signer.public_key.keyid not in known.roles[role].keyids:
            raise RepositoryInvalid(f"{repo}: the {role} key is not this repository's.")


def _store_files(repo: Path, bundle_dir: Path, manifest: Manifest) -> list[int]:
    """Copy the files that the repository lacks; returns their sizes."""
    added = []
    for entry in manifest.files:
        target = repo / "targets" / "files" / f"{entry.sha256}.{entry.sha256}"
        if target.exists() and target.stat().st_size == entry.bytes:
            continue
        source = bundle_dir / "files" / entry.sha256
        verify_file(entry, source)
        incoming = target.with_suffix(".incoming")
        incoming.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, incoming)
            incoming.replace(target)
        finally:
            incoming.unlink(missing_ok=True)
        added.append(entry.bytes)
    return added


def _before(known: TargetFile | None, sha: str, keep: int) -> list[str]:
    """Manifest hashes of the releases that a channel had before one, newest first."""
    if known is None:
        return []
    shas = [known.hashes["sha256"], *(known.custom or {}).get("before", [])]
    return [each for each in shas if each != sha][:keep]


def _manifests(repo: Path, channel: str, shas: list[str]) -> Iterator[Manifest]:
    """Read manifests of a channel; an old one that was removed by hand is passed over."""
    for sha in shas:
        path = repo / "targets" / "channels" / channel / f"{sha}.manifest.json"
        with suppress(FileNotFoundError):
            yield parse_manifest(path.read_bytes())


def _drop_unused(repo: Path, targets: Targets) -> None:
    """Name exactly the files and deltas that some channel needs; files stay on the disk."""
    channels = {p: t for p, t in targets.targets.items() if p.startswith("channels/")}
    needed: dict[str, TargetFile] = {}
    for path, target in channels.items():
        channel, sha = path.split("/")[1], target.hashes["sha256"]
        newest = next(_manifests(repo, channel, [sha]), None)
        if newest is None:
            raise RepositoryInvalid(
                f"{repo}: the manifest of channel {channel} is gone. Restore the repository."
            )
        for e in newest.files:
            name = f"files/{e.sha256}"
            needed[name] = TargetFile(e.bytes, {"sha256": e.sha256}, name)
        before = _manifests(repo, channel, _before(target, sha, MOST_KEPT))
        for name in deltas.pairs(newest, before).keys() & targets.targets.keys():
            needed[name] = targets.targets[name]
    targets.targets = channels | needed


def _expires_soon(state: _State) -> bool:
    return state.expires is not None and state.expires - datetime.now(UTC) < timedelta(days=10)


def _report(
    manifest: Manifest,
    channel: str,
    state: _State,
    added: list[int],
    made: dict[str, TargetFile],
    *,
    changed: bool,
) -> PublishReport:
    return PublishReport(
        release=manifest.name,
        channel=channel,
        version=state.version,
        changed=changed,
        new_files=len(added),
        new_bytes=sum(added),
        deltas=len(made),
        delta_bytes=sum(target.length for target in made.values()),
    )


@contextmanager
def _lock(repo: Path) -> Iterator[None]:
    """One publisher at a time; the kernel frees the lock if its holder is killed."""
    try:
        repo.mkdir(parents=True, exist_ok=True)
        stream = (repo / "lock").open("wb")
    except OSError as err:
        raise write_failed(repo, err) from err
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise RepositoryInvalid(f"{repo}: another publish is running.") from err
        yield
