"""Copy a repository to where a plain file server or a bucket hands it out.

Only what is missing is copied, the timestamp last: phones see the old release or the new one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pocketrec_bundle.disk.files import write_atomic, write_atomic_parts
from pocketrec_bundle.errors import InputError
from pocketrec_server.copies import inventory
from pocketrec_server.copies.inventory import TIMESTAMP

Tell = Callable[[int, int, str], None]
_PART = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """What was copied, and how many files were there already."""

    files: int
    bytes: int
    known: int


class Place(Protocol):
    """Where copies go."""

    def sizes(self) -> dict[str, int]:
        """Name and size of each file that is there."""

    def put(self, name: str, source: Path) -> None:
        """Write a file, whole or not at all."""

    def put_timestamp(self, data: bytes) -> None:
        """Write the one file that changes."""


def place_of(to: str, endpoint: str | None = None) -> Place:
    """Open a folder, or a bucket as s3://bucket/prefix.

    Args:
        to: which.
        endpoint: URL of a store that speaks S3 but is not Amazon's.

    Raises:
        InputError: it is another kind of URL, or a bucket without a name.
    """
    if to.startswith("s3://"):
        from pocketrec_server.copies.bucket import Bucket

        return Bucket(to, endpoint)
    if "://" in to:
        raise InputError(f"{to}: neither a folder nor s3://bucket/prefix.")
    return Folder(Path(to))


def mirror(
    repo: Path, place: Place, tell: Tell = lambda _done, _total, _name: None
) -> MirrorReport:
    """Bring a copy up to date.

    Args:
        repo: the repository.
        place: the copy.
        tell: called before each file with how many are done, how many there are, and its name.

    Raises:
        RepositoryInvalidError: nothing is published, or a file is damaged; it is not copied.
        PocketRecError: the copy cannot be written; phones that use it see what they saw.
    """
    found = inventory.take(repo)
    there = place.sizes()
    missing = [(n, path) for n, path in found.files.items() if there.get(n) != found.sizes[n]]
    copied = 0
    for done, (name, path) in enumerate(missing):
        tell(done, len(missing), name)
        try:
            inventory.check(name, path)
            place.put(name, path)
            copied += found.sizes[name]
        except FileNotFoundError:
            if not inventory.may_vanish(name):
                raise
    place.put_timestamp(found.timestamp)
    tell(len(missing), len(missing), "")
    return MirrorReport(files=len(missing), bytes=copied, known=len(found.files) - len(missing))


class Folder:
    """A folder that a file server hands out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        """Name and size of each file that is there."""
        return {
            path.relative_to(self._folder).as_posix(): path.stat().st_size
            for path in self._folder.rglob("*")
            if path.is_file()
        }

    def put(self, name: str, source: Path) -> None:
        """Write a file, whole or not at all."""
        write_atomic_parts(self._folder / name, _parts(source))

    def put_timestamp(self, data: bytes) -> None:
        """Write the one file that changes."""
        write_atomic(self._folder / TIMESTAMP, data)


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while part := stream.read(_PART):
            yield part
