"""Store the files that metadata names. Each has its SHA-256 in its name and never changes.

targets/files/<sha256>.<sha256>            files of releases, named by signed manifests
targets/channels/CHANNEL/<sha256>.NAME     targets of a channel: policy, manifests, deltas/
targets/halts/<sha256>.CHANNEL.json        targets of the role `brake`
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
    """Return the path of a release's file."""
    return repo / "targets" / "files" / f"{sha256}.{sha256}"


def target_path(repo: Path, target: TargetFile) -> Path:
    """Return the path of a target's bytes (consistent snapshots)."""
    folder, _, name = target.path.rpartition("/")
    return repo / "targets" / folder / f"{target.hashes['sha256']}.{name}"


def store(repo: Path, path: str, data: bytes) -> TargetFile:
    """Write the bytes of a new target, which the caller adds to metadata."""
    target = TargetFile.from_data(path, data, ["sha256"])
    write_atomic(target_path(repo, target), data)
    return target


def read(repo: Path, target: TargetFile) -> bytes:
    """Read a target, and check it against the signed size and hash.

    Raises:
        RepositoryInvalidError: the file is missing or was changed.
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
    """Copy a bundle's files that are missing or damaged in the repository; return their sizes."""
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
