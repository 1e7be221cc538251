"""Read and change the signed experiments of a channel.

The keys of the channel, snapshot and timestamp sign. A change is visible once the timestamp is in
place, as in `pocketrec_server.repository.publish`.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import SHIPPED, Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halts import Halts
from pocketrec_server.experiments import changes
from pocketrec_server.experiments.checks import (
    check_arms,
    check_winner,
    is_live,
    why_unusable,
)
from pocketrec_server.experiments.facts import change_of
from pocketrec_server.experiments.plan import check_times, completed
from pocketrec_server.repository import deltas, state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.halts import halts_in
from pocketrec_server.repository.history import NOBODY, Note, record
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.policy_changes import difference
from pocketrec_server.repository.publish import KEEP
from pocketrec_server.repository.rollout import find, with_newest

Ramp = tuple[tuple[int, float], ...]


def read_experiments(repo: Path, channel: str) -> Experiments:
    """Read the experiments of a channel; before the first one it has none.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    return Channel(repo, state.load(repo), channel).experiments()


def misfits(repo: Path, channel: str) -> list[str]:
    """Return why arms, open or shipped, do not fit the releases that the channel offers now.

    A publish calls it: devices of such an arm answer as control, and report a fault.

    Raises the errors of `read_experiments`.
    """
    current = state.load(repo)
    place, found = Channel(repo, current, channel), []
    for one in place.experiments().experiments:
        is_open = one.runs(max(time.time(), one.from_utc))
        if is_open or one.state == SHIPPED:
            check = check_arms if is_open else check_winner
            try:
                check(repo, place, one, halts_in(repo, current, channel))
            except InputError as err:
                found.append(str(err))
    return found


def start(
    repo: Path,
    signers: Signers,
    channel: str,
    plan: Mapping[str, Any],
    *,
    new_salt: bool = False,
    note: Note = NOBODY,
    now_utc: float | None = None,
) -> Experiment:
    """Start an experiment, or change the open one of the same id.

    An open one keeps its state, and its percentage and ramp if the plan does not name them.

    Args:
        repo: folder of the repository.
        signers: the available signers.
        channel: name of the channel.
        plan: the experiment as plain values, see `plan.completed`.
        new_salt: of an open experiment, draw all arms again.
        note: who makes the change, and why.
        now_utc: current time, unix seconds.

    Raises:
        InputError: the plan is wrong, does not fit the channel's releases or experiments, or would
            change the arms of an open experiment.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """
    now = int(time.time() if now_utc is None else now_utc)

    def change(place: Channel, before: Experiments, halts: Halts) -> Experiments:
        policy = place.policy()
        known = before.find(str(plan.get("id")))
        is_open = known is not None and known.runs(max(now, known.from_utc)) and not new_salt
        begins = known.from_utc if known is not None and is_open else now
        kept: dict[str, Any] = {}
        if known is not None and is_open:
            kept = {"percent": known.percent, "ramp": [list(step) for step in known.ramp]}
        planned = completed(
            kept | dict(plan),
            secrets.token_hex(16),
            begins,
            lambda name: find(policy, name).manifest,
        )
        check_times(planned, now, is_new=not is_open)
        after = changes.started(before, planned, now, new_salt=new_salt)
        check_arms(repo, place, planned, halts)
        return after

    after = _change(repo, signers, channel, change, note, "experiment-start", str(plan.get("id")))
    return changes.find(after, str(plan.get("id")))


def edit(
    repo: Path,
    signers: Signers,
    channel: str,
    name: str,
    changed: Mapping[str, Any],
    note: Note = NOBODY,
    now_utc: float | None = None,
) -> Experiment:
    """Change settings of an open experiment that move no device to another arm.

    Args:
        repo: folder of the repository.
        signers: the available signers.
        channel: name of the channel.
        name: id of the experiment.
        changed: new values of some of `changes.EDITABLE`, as plain values.
        note: who makes the change, and why.
        now_utc: current time, unix seconds.

    Raises the errors of `start`, and InputError for another key, or if the experiment is not open.
    """
    now = int(time.time() if now_utc is None else now_utc)
    plan = changes.edited(read_experiments(repo, channel), name, changed, now)
    return start(repo, signers, channel, plan, note=note, now_utc=now)


def move(
    repo: Path, signers: Signers, channel: str, name: str, action: str, note: Note = NOBODY
) -> Experiments:
    """Pause, resume, stop or kill an experiment; return the channel's experiments.

    Raises:
        InputError: the experiment is unknown, or its state does not allow the action.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """

    def change(_: Channel, before: Experiments, __: Halts) -> Experiments:
        return changes.moved(before, name, action)

    return _change(repo, signers, channel, change, note, f"experiment-{action}", name)


def ramp(
    repo: Path,
    signers: Signers,
    channel: str,
    name: str,
    percent: float | None,
    steps: Ramp = (),
    note: Note = NOBODY,
    now_utc: float | None = None,
) -> Experiments:
    """Enrol more devices, now or by a ramp. Raises the errors of `move` and `changes.ramped`."""
    now = int(time.time() if now_utc is None else now_utc)

    def change(_: Channel, before: Experiments, __: Halts) -> Experiments:
        return changes.ramped(before, name, percent, steps, now)

    return _change(repo, signers, channel, change, note, "experiment-ramp", name)


def set_holdout(
    repo: Path, signers: Signers, channel: str, share: float, note: Note = NOBODY
) -> Experiments:
    """Set the share of devices that no experiment enrols, 0..1; see `changes.held_out`.

    Raises the errors of `move`, and InputError while an experiment is open.
    """

    def change(_: Channel, before: Experiments, __: Halts) -> Experiments:
        return changes.held_out(before, share, secrets.token_hex(16), int(time.time()))

    return _change(repo, signers, channel, change, note, "experiment-holdout", "")


def set_conversions(
    repo: Path, signers: Signers, channel: str, events: tuple[str, ...], note: Note = NOBODY
) -> Experiments:
    """Set the event types that are conversions; see `changes.converting`.

    Raises the errors of `move`, and InputError while an experiment is open.
    """

    def change(_: Channel, before: Experiments, __: Halts) -> Experiments:
        return changes.converting(before, events, int(time.time()))

    return _change(repo, signers, channel, change, note, "experiment-conversions", "")


def ship(
    repo: Path, signers: Signers, channel: str, name: str, arm: str, note: Note = NOBODY
) -> Experiments:
    """Give the winning arm to every device; return the channel's experiments.

    Rules, weights, campaigns and flags of the arm apply on every device from now on. A release of
    the arm becomes the newest of the channel, for all devices, also for apps that do not read
    experiments.

    Raises:
        InputError: the experiment or arm is unknown, the experiment was killed, or the arm's
            release is not offered any more.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """

    def change(place: Channel, before: Experiments, halts: Halts) -> Experiments:
        after, winner = changes.shipped(before, name, arm)
        place.set_experiments(after)
        if winner.release is not None:
            _roll_out(place, winner, winner.release, halts)
        return after

    return _change(repo, signers, channel, change, note, "experiment-ship", name)


def _roll_out(place: Channel, winner: Arm, manifest: str, halts: Halts) -> None:
    policy = place.policy()
    stage = find(policy, manifest)
    if not is_live(stage, halts):
        raise InputError(f"arm {winner.name}: {why_unusable(stage)}")
    used = place.experiments().releases(time.time())
    place.set_policy(with_newest(policy, manifest, stage.name, 100.0, KEEP, used), {})


def _change(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[Channel, Experiments, Halts], Experiments],
    note: Note,
    action: str,
    subject: str,
) -> Experiments:
    with state.writing(repo):
        current = state.load(repo)
        place = Channel(repo, current, channel)
        before, policy = place.experiments(), place.policy()
        after = change(place, before, halts_in(repo, current, channel))
        if after == before and place.policy() == policy:
            return after
        place.set_experiments(after)
        texts = list(change_of(before, after, subject))
        moved = difference(policy, place.policy())
        if moved.after:
            texts = [f"{texts[0]}; {moved.before}", f"{texts[1]}; {moved.after}"]
        facts = {"subject": subject, "before": texts[0], "after": texts[1]}
        record(repo, current, channel, note, action, channel=channel, **facts)
        current.write(repo, signers)
        deltas.remove_others(repo, channel, place.targets)
        return after
