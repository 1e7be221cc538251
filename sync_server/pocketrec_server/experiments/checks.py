"""Check the arms of an experiment against the channel's releases, before anything is signed."""

from collections.abc import Iterable
from pathlib import Path

from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES, parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_bundle.objectives import Objectives
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_bundle.reader import OBJECTIVES_SINCE, verify_file
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm, weights_of
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.model_sets import is_ranker, set_files, set_names
from pocketrec_bundle.settings.rollout import ACTIVE, RolloutPolicy, Stage
from pocketrec_bundle.settings.rules import Rules
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import blobs
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.rollout import offered

_SPEC = "feature_spec.json"


def check_arms(repo: Path, channel: Channel, experiment: Experiment, halts: Halts) -> None:
    """Refuse arms that no device could use.

    Rules, head weights, campaigns and model sets have to fit the arm's release; without one, every
    release that the channel offers.

    Raises:
        InputError: a release is not offered, or it lacks what an arm names.
        RepositoryInvalidError: a file of a release is missing or was changed.
    """
    policy = channel.policy()
    live = [stage for stage in offered(policy) if is_live(stage, halts)]
    for arm in experiment.arms:
        where = f"{experiment.id}, arm {arm.name}"
        stages = live
        if arm.release is not None:
            stages = [_named(where, policy, arm.release, halts)]
        elif not live:
            raise InputError(f"{where}: the channel {policy.channel} offers no release.")
        _check_stages(repo, channel, where, arm, stages)


def check_winner(repo: Path, channel: Channel, experiment: Experiment, halts: Halts) -> None:
    """Refuse a shipped arm that does not fit a release that the channel offers.

    Raises the errors of `check_arms`.
    """
    for arm in experiment.arms:
        if arm.name == experiment.winner:
            stages = [stage for stage in offered(channel.policy()) if is_live(stage, halts)]
            where = f"{experiment.id}, shipped arm {arm.name}"
            _check_stages(repo, channel, where, arm, stages)


def _check_stages(
    repo: Path, channel: Channel, where: str, arm: Arm, stages: Iterable[Stage]
) -> None:
    for stage in stages:
        if _overrides(arm):
            _check_fit(where, arm, stage, *_heads_of(repo, channel, stage))
        if arm.models is not None:
            _check_set(where, arm.models, stage, channel.manifest(stage))


def is_live(stage: Stage, halts: Halts) -> bool:
    """Return whether devices may install a release, its share and its dates aside."""
    return stage.state == ACTIVE and halts.reason(stage.manifest) is None


def why_unusable(stage: Stage) -> str:
    """Describe a release that is not live."""
    state = stage.state if stage.state != ACTIVE else "halted"
    return f"release {stage.name} is {state}, so no device would install it."


def _overrides(arm: Arm) -> bool:
    return any(part is not None for part in (arm.rules, arm.head_weights, arm.campaigns))


def _named(where: str, policy: RolloutPolicy, manifest: str, halts: Halts) -> Stage:
    stage = next((one for one in policy.releases if one.manifest == manifest), None)
    if stage is None:
        names = ", ".join(one.name for one in policy.releases) or "none"
        raise InputError(
            f"{where}: release {manifest[:12]} is not on channel {policy.channel}, which has "
            f"{names}. Publish it first: pocketrec publish BUNDLE --percent 0"
        )
    if not is_live(stage, halts):
        state = stage.state if stage.state != ACTIVE else "halted"
        raise InputError(
            f"{where}: release {stage.name} is {state}, so no device would install it."
        )
    return stage


def _check_set(where: str, name: str, stage: Stage, manifest: Manifest) -> None:
    """Refuse a release without a ranker of the set for each engine of its own rankers."""
    own = sorted({str(e.meta.get("engine")) for e in manifest.files if is_ranker(e)})
    lacking = [engine for engine in own if not set_files(manifest, name, engine)]
    if lacking or not own:
        has = ", ".join(set_names(manifest)) or "none"
        raise InputError(
            f"{where}: release {stage.name} has no model set {name} for {' and '.join(lacking)}; "
            f"its model sets: {has}. Export it with --ranker {name}=RUN, and publish it to 100%."
        )


def _check_fit(
    where: str, arm: Arm, stage: Stage, spec: FeatureSpec, objectives: Objectives | None
) -> None:
    try:
        if arm.rules is not None:
            Rules.from_json(arm.rules, spec)
        if arm.head_weights is not None:
            weights_of(arm.head_weights, spec, objectives)
        if arm.campaigns is not None:
            Campaigns.from_json(arm.campaigns)
    except BundleInvalidError as err:
        raise InputError(f"{where}: does not fit release {stage.name}: {err}") from err


def _heads_of(repo: Path, channel: Channel, stage: Stage) -> tuple[FeatureSpec, Objectives | None]:
    """Read the feature spec of a release, and its objectives if it has any."""
    manifest = channel.manifest(stage)
    has_objectives = any(entry.name == OBJECTIVES_FILE for entry in manifest.files)
    try:
        spec = FeatureSpec.from_json(_read_json(repo, manifest.entry(_SPEC)))
        if not has_objectives or manifest.format_version < OBJECTIVES_SINCE:
            return spec, None
        value = _read_json(repo, manifest.entry(OBJECTIVES_FILE))
        names = spec.heads, spec.numeric, spec.event_types
        return spec, Objectives.from_json(value, *names)
    except (BundleInvalidError, OSError) as err:
        raise RepositoryInvalidError(
            f"{stage.name}: {err}. Restore the repository from a backup."
        ) from err


def _read_json(repo: Path, entry: FileEntry) -> object:
    path = blobs.file_path(repo, entry.sha256)
    verify_file(entry, path)
    value: object = parse_json(entry.name, path.read_bytes(), MAX_JSON_BYTES)
    return value
