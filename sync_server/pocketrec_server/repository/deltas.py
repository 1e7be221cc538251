"""Deltas of a repository: made at a publish for phones that are some releases behind.

    channels/CHANNEL/deltas/<to>.<from>    a target of the channel, named by the SHA-256 of both
                                           files; its custom metadata says the form

Only what a live release and the releases before it need is named and kept.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tuf.api.metadata import TargetFile

from pocketrec_bundle.disk.files import mapped, write_atomic
from pocketrec_bundle.encoding.delta import MAX_BYTES, make_delta
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_server.repository.blobs import file_path, target_path

WORTH = 0.8
"""A delta is kept if it is smaller than this share of the new file, compressed."""
_PART = 1 << 20

Pair = tuple[FileEntry, FileEntry]
Tell = Callable[[int, int, str], None]


def pairs(newest: Manifest, before: Iterable[Manifest]) -> dict[str, Pair]:
    """Name what deltas could serve: "<to>.<from>" -> (old file, new file) of one logical name."""
    found: dict[str, Pair] = {}
    for manifest in before:
        old_of = {entry.name: entry for entry in manifest.files}
        for new in newest.files:
            old = old_of.get(new.name)
            if old is not None and old.sha256 != new.sha256:
                found[f"{new.sha256}.{old.sha256}"] = old, new
    return found


def make_missing(
    repo: Path,
    channel: str,
    wanted: Mapping[str, Pair],
    known: Mapping[str, TargetFile],
    tell: Tell,
) -> dict[str, TargetFile]:
    """Make the deltas that are not there yet and are worth it; one pair of files is open at a time.

    Args:
        repo: holds the files of both sides; a pair whose old file is gone is passed over.
        channel: whose targets they become.
        wanted: see `pairs`.
        known: deltas of all channels, by the same names.
        tell: called before each with how many are done, how many there are, and the file's name.

    Returns:
        The targets of all deltas of `wanted` that there are now, by path.
    """
    found = {}
    for done, (name, (old, new)) in enumerate(wanted.items()):
        path = f"channels/{channel}/deltas/{name}"
        target = _taken_over(repo, path, known.get(name))
        if target is None:
            tell(done, len(wanted), new.name)
            target = _make(repo, path, old, new)
        if target is not None:
            found[path] = target
    tell(len(wanted), len(wanted), "")
    return found


def named(targets: Iterable[TargetFile]) -> dict[str, TargetFile]:
    """The deltas among targets, by "<to>.<from>"."""
    split = ((each.path.rpartition("/deltas/"), each) for each in targets)
    return {name: each for (_, is_delta, name), each in split if is_delta}


def remove_others(repo: Path, channel: str, targets: Mapping[str, TargetFile]) -> None:
    """Remove a channel's deltas that no target names; who wants one takes the whole file."""
    kept = {target_path(repo, target).name for target in targets.values()}
    with suppress(OSError):
        for path in (repo / "targets" / "channels" / channel / "deltas").iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _taken_over(repo: Path, path: str, known: TargetFile | None) -> TargetFile | None:
    """A delta that is there already, perhaps in another channel, whose bytes are then shared."""
    if known is None or not target_path(repo, known).exists():
        return None
    target = TargetFile(known.length, known.hashes, path, known.unrecognized_fields)
    place = target_path(repo, target)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(target_path(repo, known), place)
    return target


def _make(repo: Path, path: str, old: FileEntry, new: FileEntry) -> TargetFile | None:
    if max(old.bytes, new.bytes) > MAX_BYTES or not old.bytes or not new.bytes:
        return None
    try:
        before, after = (mapped(file_path(repo, each.sha256)) for each in (old, new))
    except FileNotFoundError:
        return None
    form, delta = make_delta(before, after)
    if len(delta) >= WORTH * _compressed(after):
        return None
    target = TargetFile.from_data(path, delta, ["sha256"])
    target.unrecognized_fields["custom"] = {"form": form}
    write_atomic(target_path(repo, target), delta)
    return target


def _compressed(data: memoryview) -> int:
    packer = zlib.compressobj()
    parts = range(0, len(data), _PART)
    return sum(len(packer.compress(data[at : at + _PART])) for at in parts) + len(packer.flush())
