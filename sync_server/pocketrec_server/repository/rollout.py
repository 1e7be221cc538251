"""What an operator does with the releases of a channel: changes of its policy; no I/O."""

import re
from dataclasses import replace

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import ACTIVE, KILLED, RolloutPolicy, Stage

NO_HALTS = Halts()
_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def find(policy: RolloutPolicy, release: str) -> Stage:
    """Return the release of a name, or of the first 6 or more digits of its manifest's hash.

    Raises:
        InputError: there is none, or more than one.
    """
    prefix = release if _PREFIX.fullmatch(release) else None
    found = [
        stage
        for stage in policy.releases
        if stage.name == release or (prefix and stage.manifest.startswith(prefix))
    ]
    if len(found) == 1:
        return found[0]
    listed = found or policy.releases
    named = ", ".join(f"{stage.name} ({stage.manifest[:12]})" for stage in listed)
    if found:
        raise InputError(f"{release!r} is {named}: give digits of the one that is meant.")
    raise InputError(f"{policy.channel}: no release {release!r}; there are {named or 'none'}.")


def changed(policy: RolloutPolicy, stage: Stage, **changes: object) -> RolloutPolicy:
    """Return the policy with other settings of one of its releases; a new share ends a ramp."""
    if "percent" in changes:
        changes = {"ramp": ()} | changes
    after = replace(stage, **changes)  # type: ignore[arg-type]  # names come from our commands
    return replace(
        policy,
        releases=tuple(
            after if each.manifest == stage.manifest else each for each in policy.releases
        ),
    )


def rolled_back(
    policy: RolloutPolicy,
    stage: Stage,
    percent: float = 100.0,
    *,
    kill: bool = False,
    halts: Halts = NO_HALTS,
) -> RolloutPolicy:
    """Put an older release first again: a new version of the policy with old content on top.

    It gets the failure limit of the release that was first, unless it has its own.

    Args:
        policy: of the channel.
        stage: one of its releases, which becomes active.
        percent: of the devices, which may go back to it.
        kill: the releases that were before it in the list are killed, so that no device keeps them.
        halts: of the channel.

    Raises:
        InputError: it is the newest, or halted; the text names the releases that are possible.
    """
    at = policy.releases.index(stage)
    if at == 0:
        raise InputError(
            f"{stage.name}: is the newest release of {policy.channel} already. "
            f"{_possible(policy, halts)}"
        )
    if (why := halts.reason(stage.manifest)) is not None:
        raise InputError(
            f"{stage.name}: is halted ({why}), so no device would take it. "
            f"{_possible(policy, halts)} Or let it go on first: pocketrec rollout unhalt "
            f"{stage.manifest[:12]}"
        )
    newer = policy.releases[:at]
    limit = stage.most_failures or newer[0].most_failures
    if kill:
        newer = tuple(replace(each, state=KILLED) for each in newer)
    first = replace(stage, percent=percent, ramp=(), state=ACTIVE, most_failures=limit)
    return replace(policy, releases=(first, *newer, *policy.releases[at + 1 :]))


def _possible(policy: RolloutPolicy, halts: Halts) -> str:
    """Name the releases that a channel can go back to."""
    named = ", ".join(
        f"{stage.name} ({stage.manifest[:12]})"
        for stage in policy.releases[1:]
        if stage.state != KILLED and halts.reason(stage.manifest) is None
    )
    return f"Possible: {named}." if named else "The channel has no other release to go back to."
