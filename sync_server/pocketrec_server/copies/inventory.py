"""List the public files of a repository, in a safe order for copying. Keys are not included.

Only the timestamp changes; all other files are immutable. So a copy is consistent at all times if
the files named by a timestamp are copied first, and the timestamp last.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.disk.files import sha256_file
from pocketrec_server.errors import RepositoryInvalidError

TIMESTAMP = "metadata/timestamp.json"
YEAR = "public, max-age=31536000, immutable"
"""Cache-Control of files that never change."""
FRESH = "no-cache"
"""Cache-Control of the timestamp."""
_METADATA = re.compile(r"metadata/[0-9]{1,9}\.[a-z][a-z0-9-]*\.json")
_HISTORY = re.compile(r"history/([0-9a-f]{64})\.[a-z][a-z0-9-]*\.json")
_TARGET = re.compile(r"targets/(?:[A-Za-z0-9_-]+/){0,4}([0-9a-f]{64})\.[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Inventory:
    """Files of a repository at one time.

    Attributes:
        files: paths of the immutable files, by name.
        sizes: their sizes, by name.
        timestamp: bytes of the timestamp.
    """

    files: dict[str, Path]
    sizes: dict[str, int]
    timestamp: bytes


def take(repo: Path, *, history: bool = False) -> Inventory:
    """List the files of a repository. A concurrent publish does not affect the list.

    Args:
        repo: folder of the repository.
        history: include the audit trail, which names people: for a backup, not for a mirror.

    Raises:
        RepositoryInvalidError: nothing is published.
    """
    try:  # first, so that all files that it names exist
        timestamp = (repo / TIMESTAMP).read_bytes()
    except OSError as err:
        raise RepositoryInvalidError(
            f"{repo / TIMESTAMP}: {err.strerror}. Is it published?"
        ) from err
    files, sizes, named = {}, {}, _named(repo, timestamp)
    parts = [("targets", _TARGET), ("metadata", _METADATA)]
    for top, form in [("history", _HISTORY), *parts] if history else parts:
        for path in sorted((repo / top).rglob("*")):
            name = path.relative_to(repo).as_posix()
            with suppress(FileNotFoundError):  # a publish removes deltas and partial files
                if form.fullmatch(name) and not _is_later(name, named):
                    sizes[name] = path.stat().st_size
                    files[name] = path
    return Inventory(files, sizes, timestamp)


def _named(repo: Path, timestamp: bytes) -> dict[str, int]:
    """Return the version of each role except root that a timestamp names."""
    try:
        version = int(json.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"])
        snapshot = json.loads((repo / "metadata" / f"{version}.snapshot.json").read_bytes())
        meta = snapshot["signed"]["meta"]
        named = {name.removesuffix(".json"): int(fact["version"]) for name, fact in meta.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise RepositoryInvalidError(f"{repo / TIMESTAMP}: names no snapshot ({err!r}).") from err
    return named | {"snapshot": version}


def _is_later(name: str, named: dict[str, int]) -> bool:
    """Return whether it is metadata that is not named yet, as an interrupted change leaves it."""
    number, _, role = name.removeprefix("metadata/").removesuffix(".json").partition(".")
    return bool(_METADATA.fullmatch(name)) and role != "root" and int(number) > named.get(role, 0)


def is_name(name: str) -> bool:
    """Return whether a name is valid for a repository's file; valid names stay in its folder."""
    return name == TIMESTAMP or any(form.fullmatch(name) for form in (_METADATA, _TARGET, _HISTORY))


def check(name: str, path: Path) -> None:
    """Check a target or a history against the SHA-256 in its name.

    Raises:
        RepositoryInvalidError: the SHA-256 differs; devices would reject the file.
    """
    named = _TARGET.fullmatch(name) or _HISTORY.fullmatch(name)
    if named and sha256_file(path) != named[1]:
        raise RepositoryInvalidError(f"{path}: damaged, its SHA-256 is not the one in its name.")


def may_vanish(name: str) -> bool:
    """Return whether a publish can remove a file: a delta, for which a whole file exists."""
    return "/deltas/" in name
