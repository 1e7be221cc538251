"""Read a repository's metadata and prove it: signatures of its role, and the hash that names it."""

from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import Signature
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Targets

from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository.roles import ROOT, THRESHOLD

T = TypeVar("T", bound=Signed)


def proved_roots(folder: Path) -> list[Root]:
    """Read all versions of the root, oldest first, each proved by the one before it.

    Raises:
        RepositoryInvalidError: nothing is published, a root is damaged, or of an older pocketrec.
    """
    found: list[Root] = []
    while (path := folder / f"{len(found) + 1}.{ROOT}.json").exists():
        root, data, signatures = _read(path, Root)
        _check_layout(path, root)
        try:
            for by in (*found[-1:], root):
                by.verify_delegate(ROOT, data, signatures)
        except RepositoryError as err:
            raise _damaged(path, err) from err
        if root.version != len(found) + 1:
            raise _damaged(path, f"it says version {root.version}")
        found.append(root)
    if not found:
        raise RepositoryInvalidError(f"{folder.parent}: nothing is published here yet.")
    return found


def proved(path: Path, kind: type[T], by: Root | Targets, role: str, named: MetaFile | None) -> T:
    """Read metadata of a role.

    Args:
        path: its file.
        kind: of metadata that it has to be.
        by: who says which keys sign for the role.
        role: its name.
        named: size and hash that it has to have; None for the timestamp, which nothing names.

    Raises:
        RepositoryInvalidError: it is damaged, or not signed by the role.
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
    """Parse metadata that may be `named` with size and hash; its signed bytes and signatures."""
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
            f"{path}: of an older pocketrec, whose one root key signed alone. Make keys with "
            "`pocketrec keys make`, publish into a new folder, and ship its 1.root.json with the "
            "app: phones that pinned the old root cannot follow."
        )


def _damaged(path: Path, why: object) -> RepositoryInvalidError:
    text = f"{path}: damaged ({why}). Restore the repository from a backup."
    if path.name == "timestamp.json":
        text += " If `pocketrec keys` was cut short while it changed keys, run it again."
    return RepositoryInvalidError(text)
