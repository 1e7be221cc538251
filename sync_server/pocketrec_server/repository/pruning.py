"""Remove what no phone asks for any more: files of releases that are gone, and old metadata.

What was current within the last days stays, with all that it names: a phone may be in the middle of
it. All roots stay, since a phone may come from any of them.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Targets

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import blobs, history, state
from pocketrec_server.repository.roles import ROOT
from pocketrec_server.repository.state import State

DAYS = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed, or would be."""

    files: int
    bytes: int


def prune(
    repo: Path, days: float = DAYS, *, dry_run: bool = False, now: float | None = None
) -> Pruned:
    """Remove what no metadata names that was current within some days.

    Args:
        repo: the repository.
        days: that a phone may take for one sync.
        dry_run: only count.
        now: unix seconds.

    Raises:
        RepositoryInvalidError: nothing is published, or the repository is damaged or being written.
    """
    since = (time.time() if now is None else now) - days * DAY_S
    with state.writing(repo):
        found = state.load(repo)
        kept = set(_kept(repo, found, since))
        gone = [
            path
            for part in ("metadata", "targets", history.FOLDER)
            for path in (repo / part).rglob("*")
            if path.is_file() and path not in kept and path.stat().st_mtime < since
        ]
        total = sum(path.stat().st_size for path in gone)
        for path in () if dry_run else gone:
            path.unlink()
        return Pruned(files=len(gone), bytes=total)


def _kept(repo: Path, found: State, since: float) -> Iterator[Path]:
    folder = repo / "metadata"
    yield folder / "timestamp.json"
    yield from history.named(repo, found)
    for role, version in found.versions.items():
        for number, path in _versions(folder, role):
            after = folder / f"{number + 1}.{role}.json"
            was_current = number == version or (after.exists() and after.stat().st_mtime >= since)
            if role == ROOT or was_current:
                yield path
            if role in found.targets and was_current:
                yield from _named(repo, path)


def _versions(folder: Path, role: str) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"*.{role}.json"):
        number = path.name.partition(".")[0]
        if number.isdecimal():
            yield int(number), path


def _named(repo: Path, path: Path) -> Iterator[Path]:
    """What one version of a role's metadata names, and the files that its manifests name."""
    try:
        signed = Metadata[Any].from_file(str(path)).signed
    except (RepositoryError, OSError, ValueError):  # an old version, which nobody can use
        return
    for target in signed.targets.values() if isinstance(signed, Targets) else ():
        yield blobs.target_path(repo, target)
        with suppress(BundleInvalidError, RepositoryInvalidError):
            if target.path.startswith("channels/") and _is_manifest(target.path):
                manifest = parse_manifest(blobs.read(repo, target))
                yield from (blobs.file_path(repo, entry.sha256) for entry in manifest.files)


def _is_manifest(path: str) -> bool:
    return path.count("/") == 2 and not path.endswith("/policy.json")
