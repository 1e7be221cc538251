"""Which releases stay in a channel's policy, and which of them devices may take; no I/O."""

from dataclasses import replace

from pocketrec_bundle.settings.rollout import ACTIVE, MAX_STAGES, RolloutPolicy, Stage


def with_newest(
    policy: RolloutPolicy, sha: str, name: str, percent: float, spare: int
) -> RolloutPolicy:
    """Put a release first.

    Args:
        policy: of the channel so far.
        sha: of the release's manifest; if it is there already, its other settings stay.
        name: shown to people. Without a failure limit of its own it gets that of the newest.
        percent: of the devices, which may take it.
        spare: of the other releases stay those that devices may take, and at least so many, to
            which one can go back.

    Returns:
        The policy; the same one if the release is first already, for so many devices.
    """
    known = next((each for each in policy.releases if each.manifest == sha), None)
    limit = policy.releases[0].most_failures if policy.releases else None
    found = known or Stage(manifest=sha, name=name, percent=percent)
    limit = found.most_failures or limit
    newest = replace(found, percent=percent, ramp=(), state=ACTIVE, most_failures=limit)
    if policy.releases[:1] == (newest,):
        return policy
    others = (each for each in policy.releases if each.manifest != sha)
    changed = replace(policy, releases=(newest, *others))
    n = max(len(offered(changed)), 1 + spare)
    return replace(policy, releases=changed.releases[: min(n, MAX_STAGES)])


def offered(policy: RolloutPolicy) -> tuple[Stage, ...]:
    """Releases that some device may take: up to the first that every device may."""
    for n, stage in enumerate(policy.releases, 1):
        everyone = Stage(manifest=stage.manifest, name=stage.name, percent=100.0)
        if replace(stage, most_failures=None) == everyone:
            return policy.releases[:n]
    return policy.releases
