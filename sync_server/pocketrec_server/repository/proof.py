"""Read a repository's metadata, and verify its role's signatures and its named hash."""

from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Targets

from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository.roles import ROOT, THRESHOLD

T = TypeVar("T", bound=Signed)


def proved_roots(folder: Path) -> list[Root]:
    """Read all versions of the root, oldest first; each is verified by the previous version.

    Raises:
        RepositoryInvalidError: nothing is published, or a root is damaged or of an older pocketrec.
    """
    roots: list[Root] = []
    while (path := folder / f"{len(roots) + 1}.{ROOT}.json").exists():
        root, data, signatures = _read(path, Root)
        _check_layout(path, root)
        try:
            for by in (*roots[-1:], root):
                by.verify_delegate(ROOT, data, signatures)
        except RepositoryError as err:
            raise _damaged(path, err) from err
        if root.version != len(roots) + 1:
            raise _damaged(path, f"its version is {root.version}")
        roots.append(root)
    if not roots:
        raise RepositoryInvalidError(f"{folder.parent}: nothing is published here yet.")
    return roots


def proved(path: Path, kind: type[T], by: Root | Targets, role: str, named: MetaFile | None) -> T:
    """Read and verify the metadata of a role.

    Args:
        path: file of the metadata.
        kind: expected kind of metadata.
        by: metadata that names the role's keys.
        role: name of the role.
        named: expected size and hash; None for the timestamp, whose hash is not recorded.

    Raises:
        RepositoryInvalidError: the metadata is damaged, or not signed by the role.
    """
    signed, data, signatures = _read(path, kind, named)
    try:
        by.verify_delegate(role, data, signatures)
    except (RepositoryError, ValueError) as err:
        raise _damaged(path, err) from err
    return signed


def _read(
    path: Path, kind: type[T], named: MetaFile | None = None
) -> tuple[T, bytes, dict[str, Signature]]:
    """Parse metadata and check its size and hash; return it, its signed bytes and signatures."""
    try:
        data = path.read_bytes()
        if named is not None:
            named.verify_length_and_hashes(data)
        metadata = Metadata[Any].from_bytes(data)
    except (RepositoryError, OSError, ValueError) as err:
        raise _damaged(path, err) from err
    if not isinstance(metadata.signed, kind):
        raise _damaged(path, f"it is {metadata.signed.type} metadata")
    return metadata.signed, metadata.signed_bytes, metadata.signatures


def _check_layout(path: Path, root: Root) -> None:
    if root.roles[ROOT].threshold < THRESHOLD:
        raise RepositoryInvalidError(
            f"{path}: made by an older pocketrec, with a single root key. Make keys with "
            "`pocketrec keys make`, publish into a new folder, and ship its 1.root.json with the "
            "app: devices that pinned the old root cannot update to it."
        )


def _damaged(path: Path, why: object) -> RepositoryInvalidError:
    text = f"{path}: damaged ({why}). Restore the repository from a backup."
    if path.name == "timestamp.json":
        text += " If `pocketrec keys` was interrupted while it changed keys, run it again."
    return RepositoryInvalidError(text)
