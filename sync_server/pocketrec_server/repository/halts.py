"""Halt a release, signed by the role `brake`, whose key can stop a release but not publish one.

halts/CHANNEL.json    see `pocketrec_bundle.settings.halts`
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pocketrec_bundle.settings.halts import MAX_HALTS, Halt, Halts
from pocketrec_server.repository import blobs, state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.history import NOBODY, Note, line, record
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import BRAKE
from pocketrec_server.repository.state import State

Listed = tuple[Halt, ...]
Check = Callable[[], object]


def read_halts(repo: Path, channel: str) -> Halts:
    """Read which releases of a channel are halted.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    return halts_in(repo, state.load(repo), channel)


def halt(
    repo: Path,
    signers: Signers,
    channel: str,
    manifest: str,
    reason: str,
    check: Check = lambda: None,
    *,
    by: str = "",
) -> bool:
    """Halt a release, signed with the keys of brake, snapshot and timestamp.

    Args:
        repo: folder of the repository.
        signers: the available signers.
        channel: channel of the release.
        manifest: hash of the release's manifest.
        reason: reason of the halt; devices and the history show it.
        check: called before the change, under the writer's lock; an exception cancels the halt.
        by: who halts the release, for the history.

    Returns:
        True if the release was not halted before.

    Raises:
        InputError: the channel is unknown.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """
    new_halt = Halt(manifest=manifest, reason=reason, since_utc=int(datetime.now(UTC).timestamp()))

    def add(halted: Listed) -> Listed:
        if any(entry.manifest == manifest for entry in halted):
            return halted
        return (new_halt, *halted)[:MAX_HALTS]

    note = Note(by=line(by), reason=line(reason))
    return _change(repo, signers, channel, add, check, _HistoryEntry("halt", manifest, note))


def unhalt(
    repo: Path,
    signers: Signers,
    channel: str,
    manifest: str,
    check: Check = lambda: None,
    *,
    note: Note = NOBODY,
) -> bool:
    """End the halt of a release; return whether it was halted.

    Arguments, keys and errors are those of `halt`.
    """

    def remove(halted: Listed) -> Listed:
        return tuple(entry for entry in halted if entry.manifest != manifest)

    return _change(repo, signers, channel, remove, check, _HistoryEntry("unhalt", manifest, note))


@dataclass(frozen=True, slots=True)
class _HistoryEntry:
    """Facts of a change that its history entry gets."""

    action: str
    manifest: str
    note: Note


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[Listed], Listed],
    check: Check,
    entry: _HistoryEntry,
) -> bool:
    with state.writing(repo):
        check()
        current = state.load(repo)
        before = halts_in(repo, current, channel)
        after = Halts(halted=change(before.halted))
        if after == before:
            return False
        path = _path(channel)
        current.edit(BRAKE).targets[path] = blobs.store(repo, path, after.to_bytes())
        states = ("offered", "halted") if entry.action == "halt" else ("halted", "offered")
        record(
            repo,
            current,
            BRAKE,
            entry.note,
            entry.action,
            channel=channel,
            subject=_name(repo, current, channel, entry.manifest),
            manifest=entry.manifest,
            before=states[0],
            after=states[1],
        )
        current.write(repo, signers)
        return True


def _name(repo: Path, current: State, channel: str, manifest: str) -> str:
    """Return the name of a release; "" if the channel's policy no longer lists it."""
    stages = Channel(repo, current, channel).policy().releases
    return next((stage.name for stage in stages if stage.manifest == manifest), "")


def halts_in(repo: Path, current: State, channel: str) -> Halts:
    """Return a channel's halts in a loaded state. Raises the errors of `read_halts`."""
    Channel(repo, current, channel)
    target = current.targets[BRAKE].targets.get(_path(channel))
    return Halts.from_bytes(blobs.read(repo, target)) if target else Halts()


def _path(channel: str) -> str:
    return f"halts/{channel}.json"
