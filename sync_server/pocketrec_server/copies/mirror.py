"""Mirror a repository to a folder of a static file server, or to a bucket.

Only missing files are copied, the timestamp last: devices see the old state or the new one.
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
    """Result of mirroring.

    Attributes:
        files: copied files.
        bytes: size of these files.
        known: files that the mirror had already.
    """

    files: int
    bytes: int
    known: int


class Place(Protocol):
    """Target of a mirror."""

    def sizes(self) -> dict[str, int]:
        """Return the size of each existing file, by name."""

    def put(self, name: str, source: Path) -> None:
        """Write a file atomically."""

    def put_timestamp(self, data: bytes) -> None:
        """Write the timestamp, the only file that changes."""


def place_of(to: str, endpoint: str | None = None) -> Place:
    """Return the target of a mirror: a folder, or a bucket as s3://bucket/prefix.

    Args:
        to: path of the folder, or URL of the bucket.
        endpoint: URL of an S3-compatible store, if not Amazon's.

    Raises:
        InputError: the URL has another scheme, or no bucket name.
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
    """Update a mirror.

    Args:
        repo: folder of the repository.
        place: the mirror.
        tell: progress callback, called before each file with the number done, the total, and the
            file's name.

    Raises:
        RepositoryInvalidError: nothing is published, or a file is damaged; it is not copied.
        PocketRecError: the mirror cannot be written; devices that use it still see the old state.
    """
    listing = inventory.take(repo)
    existing = place.sizes()
    missing = [
        (n, path) for n, path in listing.files.items() if existing.get(n) != listing.sizes[n]
    ]
    copied = 0
    for done, (name, path) in enumerate(missing):
        tell(done, len(missing), name)
        try:
            inventory.check(name, path)
            place.put(name, path)
            copied += listing.sizes[name]
        except FileNotFoundError:
            if not inventory.may_vanish(name):
                raise
    place.put_timestamp(listing.timestamp)
    tell(len(missing), len(missing), "")
    return MirrorReport(files=len(missing), bytes=copied, known=len(listing.files) - len(missing))


class Folder:
    """A folder of a static file server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        """Return the size of each existing file, by name."""
        return {
            path.relative_to(self._folder).as_posix(): path.stat().st_size
            for path in self._folder.rglob("*")
            if path.is_file()
        }

    def put(self, name: str, source: Path) -> None:
        """Write a file atomically."""
        write_atomic_parts(self._folder / name, _parts(source))

    def put_timestamp(self, data: bytes) -> None:
        """Write the timestamp, the only file that changes."""
        write_atomic(self._folder / TIMESTAMP, data)


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while part := stream.read(_PART):
            yield part
