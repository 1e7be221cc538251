"""Remove files that devices no longer need: old metadata, and files of removed releases.

Metadata that was current within the last days is kept, with all files that it names: a sync may
still use it. All roots are kept, because a device may have any of them.
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
_SETTINGS = ("/policy.json", "/experiments.json", "/guardrails.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """Removed files, or with `dry_run` the files to remove.

    Attributes:
        files: number of files.
        bytes: size of these files.
    """

    files: int
    bytes: int


def prune(
    repo: Path, days: float = DAYS, *, dry_run: bool = False, now: float | None = None
) -> PruneReport:
    """Remove files that are not named by any metadata that was current within the last days.

    Args:
        repo: folder of the repository.
        days: maximum duration of one device's sync, in days.
        dry_run: count the files without removing them.
        now: current time, unix seconds.

    Raises:
        RepositoryInvalidError: nothing is published, or the repository is damaged or being written.
    """
    since = (time.time() if now is None else now) - days * DAY_S
    with state.writing(repo):
        current = state.load(repo)
        kept = set(_kept(repo, current, since))
        gone = [
            path
            for part in ("metadata", "targets", history.FOLDER)
            for path in (repo / part).rglob("*")
            if path.is_file() and path not in kept and path.stat().st_mtime < since
        ]
        total = sum(path.stat().st_size for path in gone)
        for path in () if dry_run else gone:
            path.unlink()
        return PruneReport(files=len(gone), bytes=total)


def _kept(repo: Path, current: State, since: float) -> Iterator[Path]:
    folder = repo / "metadata"
    yield folder / "timestamp.json"
    yield from history.named(repo, current)
    for role, version in current.versions.items():
        for number, path in _versions(folder, role):
            after = folder / f"{number + 1}.{role}.json"
            was_current = number == version or (after.exists() and after.stat().st_mtime >= since)
            if role == ROOT or was_current:
                yield path
            if role in current.targets and was_current:
                yield from _named(repo, path)


def _versions(folder: Path, role: str) -> Iterator[tuple[int, Path]]:
    for path in folder.glob(f"*.{role}.json"):
        number = path.name.partition(".")[0]
        if number.isdecimal():
            yield int(number), path


def _named(repo: Path, path: Path) -> Iterator[Path]:
    """Yield the targets in one version of a role's metadata, and the files of its manifests."""
    try:
        signed = Metadata[Any].from_file(str(path)).signed
    except (RepositoryError, OSError, ValueError):  # a damaged old version, unusable for devices
        return
    for target in signed.targets.values() if isinstance(signed, Targets) else ():
        yield blobs.target_path(repo, target)
        with suppress(BundleInvalidError, RepositoryInvalidError):
            if target.path.startswith("channels/") and _is_manifest(target.path):
                manifest = parse_manifest(blobs.read(repo, target))
                yield from (blobs.file_path(repo, entry.sha256) for entry in manifest.files)


def _is_manifest(path: str) -> bool:
    return path.count("/") == 2 and not path.endswith(_SETTINGS)
