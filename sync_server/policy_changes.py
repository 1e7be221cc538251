"""What an operator changes in a channel's rollout policy; pure, signed by `change_policy`."""

from dataclasses import replace

from bundle.errors import InputError
from bundle.rollout import RolloutPolicy, Stage
from sync_server.stages import with_newest


def with_state(policy: RolloutPolicy, manifest: str, state: str) -> RolloutPolicy:
    """Pause a release, kill it, or make it active again.

    Raises:
        InputError: the channel has no such release.
    """
    return _changed(policy, replace(stage_of(policy, manifest), state=state))


def with_percent(policy: RolloutPolicy, manifest: str, percent: float) -> RolloutPolicy:
    """Offer a release to another share of the devices, 0..100.

    Raises:
        InputError: the channel has no such release.
    """
    return _changed(policy, replace(stage_of(policy, manifest), percent=percent))


def rolled_back(policy: RolloutPolicy, manifest: str) -> RolloutPolicy:
    """Put an earlier release first again, for all devices: a new policy with old content.

    Raises:
        InputError: the channel has no such release, or it is the newest.
    """
    stage = stage_of(policy, manifest)
    if stage == policy.releases[0]:
        raise InputError(f"{stage.name}: is the newest release of {policy.channel} already.")
    spare = len(policy.releases) - 1
    return with_newest(policy, manifest, stage.name, 100.0, spare)


def stage_of(policy: RolloutPolicy, manifest: str) -> Stage:
    """Find a release by its manifest's SHA-256.

    Raises:
        InputError: the channel has no such release.
    """
    found = [stage for stage in policy.releases if stage.manifest == manifest]
    if not found:
        raise InputError(f"{policy.channel}: no release {manifest[:12]}; see `rollout show`.")
    return found[0]


def _changed(policy: RolloutPolicy, stage: Stage) -> RolloutPolicy:
    kept = (stage if one.manifest == stage.manifest else one for one in policy.releases)
    return replace(policy, releases=tuple(kept))
