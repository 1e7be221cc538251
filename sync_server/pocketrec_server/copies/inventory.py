"""All files of a repository that others may have, in the order in which a copy is safe.

Everything but the timestamp never changes once it is there, so a copy that has what a timestamp
names, and gets the timestamp last, is whole at every moment. No key is among them.
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
    """Of a repository at one moment: immutable files by name, and the timestamp's bytes."""

    files: dict[str, Path]
    sizes: dict[str, int]
    timestamp: bytes


def take(repo: Path, *, history: bool = False) -> Inventory:
    """List a repository; a publish that goes on beside it does no harm.

    Args:
        repo: the repository.
        history: list the audit trail too, which names people: for a backup, not for a mirror.

    Raises:
        RepositoryInvalidError: nothing is published.
    """
    try:  # first, so that all it names is there already
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
            with suppress(FileNotFoundError):  # a publish removes deltas and its own halves
                if form.fullmatch(name) and not _is_later(name, named):
                    sizes[name] = path.stat().st_size
                    files[name] = path
    return Inventory(files, sizes, timestamp)


def _named(repo: Path, timestamp: bytes) -> dict[str, int]:
    """Version of each role but root that a timestamp names."""
    try:
        version = int(json.loads(timestamp)["signed"]["meta"]["snapshot.json"]["version"])
        snapshot = json.loads((repo / "metadata" / f"{version}.snapshot.json").read_bytes())
        meta = snapshot["signed"]["meta"]
        named = {name.removesuffix(".json"): int(each["version"]) for name, each in meta.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise RepositoryInvalidError(f"{repo / TIMESTAMP}: names no snapshot ({err!r}).") from err
    return named | {"snapshot": version}


def _is_later(name: str, named: dict[str, int]) -> bool:
    """Whether it is metadata that nothing names yet; a change cut short makes it anew."""
    number, _, role = name.removeprefix("metadata/").removesuffix(".json").partition(".")
    return bool(_METADATA.fullmatch(name)) and role != "root" and int(number) > named.get(role, 0)


def is_name(name: str) -> bool:
    """Whether a file of a repository may have a name; none that may leads out of its folder."""
    return name == TIMESTAMP or any(form.fullmatch(name) for form in (_METADATA, _TARGET, _HISTORY))


def check(name: str, path: Path) -> None:
    """Check a target or a history against the SHA-256 that its name begins with.

    Raises:
        RepositoryInvalidError: it is another; phones would refuse it.
    """
    named = _TARGET.fullmatch(name) or _HISTORY.fullmatch(name)
    if named and sha256_file(path) != named[1]:
        raise RepositoryInvalidError(f"{path}: damaged, its SHA-256 is not the one of its name.")


def may_vanish(name: str) -> bool:
    """Whether a publish may remove a file: a delta; who wants it takes the whole file."""
    return "/deltas/" in name
