"""Make deltas at a publish, for devices that have one of the previous releases.

    channels/CHANNEL/deltas/<to>.<from>    a target of the channel, named by the SHA-256 of both
                                           files; its custom metadata holds the delta's form

Deltas that no live release needs are removed.
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
"""Maximum size of a delta, as a share of the compressed new file."""
_PART = 1 << 20

Pair = tuple[FileEntry, FileEntry]
Tell = Callable[[int, int, str], None]


def pairs(newest: Manifest, before: Iterable[Manifest]) -> dict[str, Pair]:
    """List the possible deltas: "<to>.<from>" -> (old file, new file) with the same name."""
    named_pairs: dict[str, Pair] = {}
    for manifest in before:
        old_of = {entry.name: entry for entry in manifest.files}
        for new in newest.files:
            old = old_of.get(new.name)
            if old is not None and old.sha256 != new.sha256:
                named_pairs[f"{new.sha256}.{old.sha256}"] = old, new
    return named_pairs


def make_missing(
    repo: Path,
    channel: str,
    candidates: Mapping[str, Pair],
    known: Mapping[str, TargetFile],
    tell: Tell,
) -> dict[str, TargetFile]:
    """Make the missing deltas that are small enough (WORTH). One pair of files is open at a time.

    Args:
        repo: folder of the repository, which holds both files of a pair. Pairs without the old file
            are skipped.
        channel: channel that gets the deltas as targets.
        candidates: possible deltas, see `pairs`.
        known: existing deltas of all channels, by the same names.
        tell: progress callback, called before each delta with the number done, the total, and the
            file's name.

    Returns:
        The existing and the new deltas among `candidates`, by path.
    """
    targets = {}
    for done, (name, (old, new)) in enumerate(candidates.items()):
        path = f"channels/{channel}/deltas/{name}"
        target = _taken_over(repo, path, known.get(name))
        if target is None:
            tell(done, len(candidates), new.name)
            target = _make(repo, path, old, new)
        if target is not None:
            targets[path] = target
    tell(len(candidates), len(candidates), "")
    return targets


def named(targets: Iterable[TargetFile]) -> dict[str, TargetFile]:
    """Return the deltas among targets, by "<to>.<from>"."""
    split = ((target.path.rpartition("/deltas/"), target) for target in targets)
    return {name: target for (_, is_delta, name), target in split if is_delta}


def remove_others(repo: Path, channel: str, targets: Mapping[str, TargetFile]) -> None:
    """Remove a channel's deltas that are not targets; devices then download the whole file."""
    kept = {target_path(repo, target).name for target in targets.values()}
    with suppress(OSError):
        for path in (repo / "targets" / "channels" / channel / "deltas").iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _taken_over(repo: Path, path: str, known: TargetFile | None) -> TargetFile | None:
    """Return an existing delta as a target; a delta of another channel is hard-linked."""
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
        before, after = (mapped(file_path(repo, entry.sha256)) for entry in (old, new))
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
    return sum(len(packer.compress(data[start : start + _PART])) for start in parts) + len(
        packer.flush()
    )
