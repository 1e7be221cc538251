"""Halt an arm of an experiment, signed by the role `brake`, whose key cannot start one.

halts/CHANNEL.experiments.json    see `pocketrec_bundle.settings.halted_arms`
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pocketrec_bundle.encoding.strict_json import MAX_TEXT
from pocketrec_bundle.settings.experiment import OPEN, Experiment
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import MAX_HALTED, HaltedArm, HaltedArms
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.repository import blobs, state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.history import NOBODY, Note, line, record
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import BRAKE
from pocketrec_server.repository.state import State

Listed = tuple[HaltedArm, ...]
_OFFERED, _HALTED = "offered", "halted"


def read_halted_arms(repo: Path, channel: str) -> HaltedArms:
    """Read which arms of a channel's experiments are halted.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    return _read(repo, state.load(repo), channel)


def halts_of(repo: Path, channel: str, experiment: Experiment) -> dict[str, str]:
    """Return the reason of each halted arm of an experiment, by name.

    Raises the errors of `read_halted_arms`.
    """
    found = read_halted_arms(repo, channel)
    reasons = {arm.name: found.reason(experiment, arm.name) for arm in experiment.arms}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningArm:
    """An arm of a running experiment, and why it is halted, or None."""

    experiment: str
    arm: str
    halted: str | None


def running_arms(repo: Path, channel: str, now_utc: float) -> list[RunningArm]:
    """Return the arms of the experiments that run; the files are cached until the next publish.

    Raises the errors of `read_halted_arms`.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return []
    experiments, halted = _published(repo, channel, changed.st_ino, changed.st_mtime_ns)
    return [
        RunningArm(experiment=one.id, arm=arm.name, halted=halted.reason(one, arm.name))
        for one in experiments.experiments
        if one.runs(now_utc)
        for arm in one.arms
    ]


def open_experiments(repo: Path, channel: str) -> list[Experiment]:
    """Return the running and paused experiments, also those that are over.

    Cached like `running_arms`. Raises the errors of `read_halted_arms`.
    """
    changed = (repo / "metadata" / "timestamp.json").stat()
    experiments, _ = _published(repo, channel, changed.st_ino, changed.st_mtime_ns)
    return [one for one in experiments.experiments if one.state in OPEN]


@lru_cache(maxsize=64)
def _published(
    repo: Path, channel: str, _file: int, _changed_ns: int
) -> tuple[Experiments, HaltedArms]:
    return read_experiments(repo, channel), read_halted_arms(repo, channel)


def halt_arm(
    repo: Path,
    signers: Signers,
    channel: str,
    experiment: Experiment,
    arm: str,
    reason: str,
    *,
    by: str = "",
) -> bool:
    """Halt an arm, signed with the keys of brake, snapshot and timestamp.

    Args:
        repo: folder of the repository.
        signers: the available signers.
        channel: channel of the experiment.
        experiment: the experiment, with its salt.
        arm: name of the arm.
        reason: reason of the halt; devices and the history show it.
        by: who halts the arm, for the history.

    Returns:
        True if the arm was not halted before.

    Raises:
        InputError: the channel is unknown.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """
    new = HaltedArm(
        experiment=experiment.id,
        salt=experiment.salt,
        arm=arm,
        reason=reason[:MAX_TEXT],
        since_utc=int(datetime.now(UTC).timestamp()),
    )

    def add(halted: Listed) -> Listed:
        return halted if _has(halted, new.key) else (new, *halted)[:MAX_HALTED]

    note = Note(by=line(by), reason=line(reason))
    return _change(repo, signers, channel, f"{experiment.id} {arm}", add, note, is_halt=True)


def unhalt_arm(
    repo: Path,
    signers: Signers,
    channel: str,
    experiment: Experiment,
    arm: str,
    note: Note = NOBODY,
) -> bool:
    """End the halt of an arm; return whether it was halted.

    Arguments, keys and errors are those of `halt_arm`.
    """
    key = (experiment.id, experiment.salt, arm)

    def remove(halted: Listed) -> Listed:
        return tuple(each for each in halted if each.key != key)

    return _change(repo, signers, channel, f"{experiment.id} {arm}", remove, note, is_halt=False)


def _has(halted: Listed, key: tuple[str, str, str]) -> bool:
    return any(each.key == key for each in halted)


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    subject: str,
    change: Callable[[Listed], Listed],
    note: Note,
    *,
    is_halt: bool,
) -> bool:
    with state.writing(repo):
        current = state.load(repo)
        before = _read(repo, current, channel)
        after = HaltedArms(halted=change(before.halted))
        if after == before:
            return False
        path = _path(channel)
        current.edit(BRAKE).targets[path] = blobs.store(repo, path, after.to_bytes())
        states = (_OFFERED, _HALTED) if is_halt else (_HALTED, _OFFERED)
        action = "experiment-halt" if is_halt else "experiment-unhalt"
        facts = {"subject": subject, "before": states[0], "after": states[1]}
        record(repo, current, BRAKE, note, action, channel=channel, **facts)
        current.write(repo, signers)
        return True


def _read(repo: Path, current: State, channel: str) -> HaltedArms:
    Channel(repo, current, channel)
    target = current.targets[BRAKE].targets.get(_path(channel))
    return HaltedArms.from_bytes(blobs.read(repo, target)) if target else HaltedArms()


def _path(channel: str) -> str:
    return f"halts/{channel}.experiments.json"
