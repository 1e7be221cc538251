"""Halt a release, signed by the brake: its key can stop a release and cannot publish one.

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
        InputError: there is no such channel.
        RepositoryInvalidError: the repository is damaged, or nothing was published.
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
    """Halt a release; takes the keys of brake, snapshot and timestamp.

    Args:
        repo: the repository.
        signers: those that are here.
        channel: of the release.
        manifest: hash of the release's manifest.
        reason: why, which phones and the history show.
        check: is called before the change, while nobody else can write; may raise.
        by: who, for the history.

    Returns:
        Whether it was not halted before.

    Raises:
        InputError: there is no such channel.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: there is no repository, or it is damaged or being written.
    """
    made = Halt(manifest=manifest, reason=reason, since_utc=int(datetime.now(UTC).timestamp()))

    def add(halted: Listed) -> Listed:
        if any(each.manifest == manifest for each in halted):
            return halted
        return (made, *halted)[:MAX_HALTS]

    note = Note(by=line(by), reason=line(reason))
    return _change(repo, signers, channel, add, check, _Told("halt", manifest, note))


def unhalt(
    repo: Path,
    signers: Signers,
    channel: str,
    manifest: str,
    check: Check = lambda: None,
    *,
    note: Note = NOBODY,
) -> bool:
    """Let devices take a release again; returns whether it was halted.

    Takes what `halt` takes, and raises as it does.
    """

    def remove(halted: Listed) -> Listed:
        return tuple(each for each in halted if each.manifest != manifest)

    return _change(repo, signers, channel, remove, check, _Told("unhalt", manifest, note))


@dataclass(frozen=True, slots=True)
class _Told:
    """What the history gets to know of a change."""

    action: str
    manifest: str
    note: Note


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[Listed], Listed],
    check: Check,
    told: _Told,
) -> bool:
    with state.writing(repo):
        check()
        found = state.load(repo)
        before = halts_in(repo, found, channel)
        after = Halts(halted=change(before.halted))
        if after == before:
            return False
        path = _path(channel)
        found.edit(BRAKE).targets[path] = blobs.store(repo, path, after.to_bytes())
        states = ("offered", "halted") if told.action == "halt" else ("halted", "offered")
        record(
            repo,
            found,
            BRAKE,
            told.note,
            told.action,
            channel=channel,
            subject=_name(repo, found, channel, told.manifest),
            manifest=told.manifest,
            before=states[0],
            after=states[1],
        )
        found.write(repo, signers)
        return True


def _name(repo: Path, found: State, channel: str, manifest: str) -> str:
    """Name of a release of a channel; "" if its policy lists it no more."""
    stages = Channel(repo, found, channel).policy().releases
    return next((stage.name for stage in stages if stage.manifest == manifest), "")


def halts_in(repo: Path, found: State, channel: str) -> Halts:
    """Read a channel's halts of a state that was loaded; raises as `read_halts` does."""
    Channel(repo, found, channel)
    target = found.targets[BRAKE].targets.get(_path(channel))
    return Halts.from_bytes(blobs.read(repo, target)) if target else Halts()


def _path(channel: str) -> str:
    return f"halts/{channel}.json"
