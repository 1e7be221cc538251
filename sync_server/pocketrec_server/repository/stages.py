"""Decide which releases a channel's policy keeps, and which are offered to devices; no I/O."""

from dataclasses import replace

from pocketrec_bundle.settings.rollout import ACTIVE, MAX_STAGES, RolloutPolicy, Stage


def with_newest(
    policy: RolloutPolicy, sha: str, name: str, percent: float, spare: int
) -> RolloutPolicy:
    """Make a release the newest of a policy.

    A release without a failure limit gets the limit of the previous release.

    Args:
        policy: current policy of the channel.
        sha: SHA-256 of the release's manifest. A release that is in the policy already keeps its
            other settings.
        name: name of the release, shown to people.
        percent: share of the devices that are offered the release, 0..100.
        spare: minimum number of older releases to keep for rollback. All releases that are still
            offered are kept too.

    Returns:
        The new policy; the given one if the release is its newest already, with this percent.
    """
    known = next((stage for stage in policy.releases if stage.manifest == sha), None)
    limit = policy.releases[0].most_failures if policy.releases else None
    release = known or Stage(manifest=sha, name=name, percent=percent)
    limit = release.most_failures or limit
    newest = replace(release, percent=percent, ramp=(), state=ACTIVE, most_failures=limit)
    if policy.releases[:1] == (newest,):
        return policy
    others = (stage for stage in policy.releases if stage.manifest != sha)
    changed = replace(policy, releases=(newest, *others))
    n = max(len(offered(changed)), 1 + spare)
    return replace(policy, releases=changed.releases[: min(n, MAX_STAGES)])


def offered(policy: RolloutPolicy) -> tuple[Stage, ...]:
    """Return the releases still offered: up to and including the first one for all devices."""
    for n, stage in enumerate(policy.releases, 1):
        everyone = Stage(manifest=stage.manifest, name=stage.name, percent=100.0)
        if replace(stage, most_failures=None) == everyone:
            return policy.releases[:n]
    return policy.releases
