"""Change the releases in a channel's rollout policy, as a publish or an operator does; no I/O."""

import re
from collections.abc import Collection
from dataclasses import replace

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import FIRST_CLIENTS, USUAL_VERSION, Manifest
from pocketrec_bundle.settings.app_versions import APP_VERSION
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import ACTIVE, KILLED, MAX_STAGES, RolloutPolicy, Stage

NO_HALTS = Halts()
_PREFIX = re.compile(r"[0-9a-f]{6,64}")


def with_newest(
    policy: RolloutPolicy,
    sha: str,
    name: str,
    percent: float,
    spare: int,
    used: Collection[str] = (),
    app_least: str | None = None,
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
        used: manifests of releases that arms of open experiments name; they are kept.
        app_least: minimum version of the app; None: as it is.

    Returns:
        The new policy; the given one if the release is its newest already, with this percent.

    Raises:
        InputError: open experiments use all releases that a policy can have.
    """
    known = next((stage for stage in policy.releases if stage.manifest == sha), None)
    limit = policy.releases[0].most_failures if policy.releases else None
    release = known or Stage(manifest=sha, name=name, percent=percent)
    limit = release.most_failures or limit
    app = release.app if app_least is None else replace(release.app, least=app_least)
    newest = replace(release, percent=percent, ramp=(), state=ACTIVE, most_failures=limit, app=app)
    if policy.releases[:1] == (newest,):
        return policy
    others = (stage for stage in policy.releases if stage.manifest != sha)
    changed = replace(policy, releases=(newest, *others))
    n = max(len(offered(changed)), 1 + spare)
    kept = [s for at, s in enumerate(changed.releases) if at < n or s.manifest in used]
    while len(kept) > MAX_STAGES:
        unused = [at for at, s in enumerate(kept) if at and s.manifest not in used]
        if not unused:
            raise InputError(
                f"{policy.channel}: open experiments use all {MAX_STAGES} releases that a policy "
                "can have. Stop one first: pocketrec experiment stop ID"
            )
        kept.pop(unused[-1])
    return replace(policy, releases=tuple(kept))


def least_app(policy: RolloutPolicy, sha: str, manifest: Manifest, given: str | None) -> str | None:
    """Return the minimum version of the app for a release that is published; None: as it is.

    A release of a format that older apps do not read needs one. Without `given` it gets that of the
    newest release of the policy that has one.

    Raises:
        InputError: the release needs one, and neither `given` nor the policy names one.
    """
    if given is not None and not APP_VERSION.fullmatch(given):
        raise InputError(f"--app-least {given!r}: expected up to four numbers, such as 2.10.")
    if given is not None or manifest.format_version <= USUAL_VERSION:
        return given
    own = [stage.app.least for stage in policy.releases if stage.manifest == sha]
    for least in (*own, *(stage.app.least for stage in policy.releases)):
        if least is not None:
            return least
    raise needs_app(manifest)


def needs_app(manifest: Manifest) -> InputError:
    """Return the error of a release that older apps do not read, without a minimum version."""
    client = FIRST_CLIENTS[manifest.format_version]
    return InputError(
        f"{manifest.name}: is of bundle format {manifest.format_version}, which only apps with a "
        f"PocketRec client of version {client} or later read. Older apps would keep their release "
        "and never get this one. Name the first version of your app with such a client: "
        "--app-least VERSION. Or remove ranker = true from the features of the recipe that need "
        "this format (docs/recipe.md), and export again."
    )


def offered(policy: RolloutPolicy) -> tuple[Stage, ...]:
    """Return the releases still offered: up to and including the first one for all devices."""
    for n, stage in enumerate(policy.releases, 1):
        everyone = Stage(manifest=stage.manifest, name=stage.name, percent=100.0)
        if replace(stage, most_failures=None) == everyone:
            return policy.releases[:n]
    return policy.releases


def find(policy: RolloutPolicy, release: str) -> Stage:
    """Find a release by its name, or by the first 6 or more digits of its manifest's hash.

    Raises:
        InputError: no release matches, or more than one.
    """
    prefix = release if _PREFIX.fullmatch(release) else None
    matches = [
        stage
        for stage in policy.releases
        if stage.name == release or (prefix and stage.manifest.startswith(prefix))
    ]
    if len(matches) == 1:
        return matches[0]
    listed = matches or policy.releases
    named = ", ".join(f"{stage.name} ({stage.manifest[:12]})" for stage in listed)
    if matches:
        raise InputError(f"{release!r} matches {named}. Give the digits of one of them.")
    known = f"known releases: {named}" if named else "the channel has no releases"
    raise InputError(f"{policy.channel}: no release {release!r}; {known}.")


def changed(policy: RolloutPolicy, stage: Stage, **changes: object) -> RolloutPolicy:
    """Return the policy with changed settings of one release; a new percent removes the ramp."""
    if "percent" in changes:
        changes = {"ramp": ()} | changes
    after = replace(stage, **changes)  # type: ignore[arg-type]  # names come from our commands
    return replace(
        policy,
        releases=tuple(
            after if other.manifest == stage.manifest else other for other in policy.releases
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
    """Return the policy with an older release as its newest.

    A release without a failure limit gets the limit of the release that it replaces.

    Args:
        policy: policy of the channel.
        stage: the older release, which becomes active.
        percent: share of the devices that are offered it, 0..100.
        kill: kill all newer releases, so that no device keeps them.
        halts: halts of the channel.

    Raises:
        InputError: the release is the newest already, or halted; the message names the possible
            releases.
    """
    position = policy.releases.index(stage)
    if position == 0:
        raise InputError(
            f"{stage.name}: is the newest release of {policy.channel} already. "
            f"{_possible(policy, halts)}"
        )
    if (why := halts.reason(stage.manifest)) is not None:
        raise InputError(
            f"{stage.name}: is halted ({why}), so no device would install it. "
            f"{_possible(policy, halts)} Or end the halt first: pocketrec rollout unhalt "
            f"{stage.manifest[:12]}"
        )
    newer = policy.releases[:position]
    limit = stage.most_failures or newer[0].most_failures
    if kill:
        newer = tuple(replace(other, state=KILLED) for other in newer)
    first = replace(stage, percent=percent, ramp=(), state=ACTIVE, most_failures=limit)
    return replace(policy, releases=(first, *newer, *policy.releases[position + 1 :]))


def _possible(policy: RolloutPolicy, halts: Halts) -> str:
    """Name the releases that a channel can be rolled back to."""
    named = ", ".join(
        f"{stage.name} ({stage.manifest[:12]})"
        for stage in policy.releases[1:]
        if stage.state != KILLED and halts.reason(stage.manifest) is None
    )
    return f"Possible: {named}." if named else "The channel has no other release for a rollback."
