"""Deltas of a repository: made at a publish for phones that are some releases behind.

    targets/deltas/<sha256>.<to>.<from>    a TUF target deltas/<to>.<from>, whose custom metadata
                                           says from which file, to which, and the form

Only what some channel's newest release and the releases before it need is named and kept.
"""

import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from bundle.delta import MAX_BYTES, make_delta
from bundle.files import mapped, write_atomic
from bundle.manifest import FileEntry, Manifest

WORTH = 0.8
"""A delta is kept if it is smaller than this share of the new file, compressed."""
_PART = 1 << 20

Pair = tuple[FileEntry, FileEntry]
Tell = Callable[[int, int, str], None]


def pairs(newest: Manifest, before: Iterable[Manifest]) -> dict[str, Pair]:
    """Name what deltas could serve: target path -> (old file, new file) of one logical name."""
    found: dict[str, Pair] = {}
    for manifest in before:
        old_of = {entry.name: entry for entry in manifest.files}
        for new in newest.files:
            old = old_of.get(new.name)
            if old is not None and old.sha256 != new.sha256:
                found[f"deltas/{new.sha256}.{old.sha256}"] = old, new
    return found


def make_missing(
    repo: Path, wanted: dict[str, Pair], known: dict[str, TargetFile], tell: Tell
) -> dict[str, TargetFile]:
    """Make the deltas that are not there yet and are worth it; one pair of files is open at a time.

    Args:
        repo: holds the files of both sides; a pair whose old file is gone is passed over.
        wanted: see `pairs`.
        known: targets by path, from the publish before.
        tell: called before each with how many are done, how many there are, and the file's name.

    Returns:
        The targets of all deltas of `wanted` that there are now.
    """
    found = {}
    for done, (path, (old, new)) in enumerate(wanted.items()):
        target = known.get(path)
        if target is None or not blob(repo, target).exists():
            tell(done, len(wanted), new.name)
            target = _make(repo, path, old, new)
        if target is not None:
            found[path] = target
    tell(len(wanted), len(wanted), "")
    return found


def blob(repo: Path, target: TargetFile) -> Path:
    """Where a delta's bytes lie."""
    folder, _, name = target.path.rpartition("/")
    return repo / "targets" / folder / f"{target.hashes['sha256']}.{name}"


def remove_others(repo: Path, targets: dict[str, TargetFile]) -> None:
    """Remove the deltas that no target names; a phone that wants one takes the whole file."""
    kept = {blob(repo, target).name for target in targets.values()}
    with suppress(OSError):
        for path in (repo / "targets" / "deltas").iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _make(repo: Path, path: str, old: FileEntry, new: FileEntry) -> TargetFile | None:
    if max(old.bytes, new.bytes) > MAX_BYTES or not old.bytes or not new.bytes:
        return None
    files = repo / "targets" / "files"
    try:
        before, after = (mapped(files / f"{sha}.{sha}") for sha in (old.sha256, new.sha256))
    except FileNotFoundError:
        return None
    form, delta = make_delta(before, after)
    if len(delta) >= WORTH * _compressed(after):
        return None
    target = TargetFile.from_data(path, delta, ["sha256"])
    custom: dict[str, Any] = {"from": old.sha256, "to": new.sha256, "form": form}
    target.unrecognized_fields["custom"] = custom
    write_atomic(blob(repo, target), delta)
    return target


def _compressed(data: memoryview) -> int:
    packer = zlib.compressobj()
    parts = range(0, len(data), _PART)
    return sum(len(packer.compress(data[at : at + _PART])) for at in parts) + len(packer.flush())
