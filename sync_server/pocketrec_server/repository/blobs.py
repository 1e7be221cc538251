"""The files that metadata names, each under its SHA-256 and never changed.

targets/files/<sha256>.<sha256>            files of releases, named by signed manifests
targets/channels/CHANNEL/<sha256>.NAME     targets of a channel: policy, manifests, deltas/
targets/halts/<sha256>.CHANNEL.json        targets of the brake
"""

from contextlib import suppress
from functools import partial
from pathlib import Path

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from pocketrec_bundle.disk.files import write_atomic, write_atomic_parts
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import Manifest
from pocketrec_bundle.reader import verify_file
from pocketrec_server.errors import RepositoryInvalidError

_PART = 1 << 20


def file_path(repo: Path, sha256: str) -> Path:
    """Where a file of a release lies."""
    return repo / "targets" / "files" / f"{sha256}.{sha256}"


def target_path(repo: Path, target: TargetFile) -> Path:
    """Where a target's bytes lie (consistent snapshots)."""
    folder, _, name = target.path.rpartition("/")
    return repo / "targets" / folder / f"{target.hashes['sha256']}.{name}"


def store(repo: Path, path: str, data: bytes) -> TargetFile:
    """Write a target's bytes; nothing names them yet."""
    target = TargetFile.from_data(path, data, ["sha256"])
    write_atomic(target_path(repo, target), data)
    return target


def read(repo: Path, target: TargetFile) -> bytes:
    """Read a target, checked against the signed size and hash.

    Raises:
        RepositoryInvalidError: it is gone or was changed.
    """
    path = target_path(repo, target)
    try:
        data = path.read_bytes()
        target.verify_length_and_hashes(data)
    except (OSError, LengthOrHashMismatchError) as err:
        raise RepositoryInvalidError(
            f"{path}: {err}. Restore the repository from a backup."
        ) from err
    return data


def store_files(repo: Path, bundle_dir: Path, manifest: Manifest) -> list[int]:
    """Copy the files of a bundle that the repository lacks, or has damaged; returns their sizes."""
    added = []
    for entry in manifest.files:
        path = file_path(repo, entry.sha256)
        with suppress(BundleInvalidError):
            verify_file(entry, path)
            continue
        source = bundle_dir / "files" / entry.sha256
        verify_file(entry, source)
        with source.open("rb") as stream:
            write_atomic_parts(path, iter(partial(stream.read, _PART), b""))
        added.append(entry.bytes)
    return added
