"""Halt a release, signed by the brake: its key can stop a release and cannot publish one.

halts/CHANNEL.json    see `bundle/halts.py`
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bundle.halts import MAX_HALTS, Halt, Halts
from sync_server import blobs, state
from sync_server.channel import Channel
from sync_server.keys import Signers
from sync_server.roles import BRAKE
from sync_server.state import State

Listed = tuple[Halt, ...]
Check = Callable[[], None]


def read_halts(repo: Path, channel: str) -> Halts:
    """Read which releases of a channel are halted.

    Raises:
        InputError: there is no such channel.
        RepositoryInvalid: the repository is damaged, or nothing was published.
    """
    return halts_in(repo, state.load(repo), channel)


def halt(
    repo: Path,
    signers: Signers,
    channel: str,
    manifest: str,
    reason: str,
    check: Check = lambda: None,
) -> bool:
    """Halt a release; takes the keys of brake, snapshot and timestamp.

    Args:
        repo: the repository.
        signers: those that are here.
        channel: of the release.
        manifest: hash of the release's manifest.
        reason: for people.
        check: is called before the change, while nobody else can write; may raise.

    Returns:
        Whether it was not halted before.

    Raises:
        InputError: there is no such channel.
        KeysInvalid: a key that has to sign is missing.
        RepositoryInvalid: the repository is damaged or being written.
    """
    made = Halt(manifest=manifest, reason=reason, since_utc=int(datetime.now(UTC).timestamp()))

    def add(halted: Listed) -> Listed:
        if any(each.manifest == manifest for each in halted):
            return halted
        return (made, *halted)[:MAX_HALTS]

    return _change(repo, signers, channel, add, check)


def unhalt(
    repo: Path, signers: Signers, channel: str, manifest: str, check: Check = lambda: None
) -> bool:
    """Let devices take a release again; returns whether it was halted.

    Takes what `halt` takes, and raises as it does.
    """

    def remove(halted: Listed) -> Listed:
        return tuple(each for each in halted if each.manifest != manifest)

    return _change(repo, signers, channel, remove, check)


def _change(
    repo: Path, signers: Signers, channel: str, change: Callable[[Listed], Listed], check: Check
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
        found.write(repo, signers)
        return True


def halts_in(repo: Path, found: State, channel: str) -> Halts:
    """Read a channel's halts of a state that was loaded; raises as `read_halts` does."""
    Channel(repo, found, channel)
    target = found.targets[BRAKE].targets.get(_path(channel))
    return Halts.from_bytes(blobs.read(repo, target)) if target else Halts()


def _path(channel: str) -> str:
    return f"halts/{channel}.json"
