"""One channel of a repository: its policy, the manifests of its releases, the deltas to them.

channels/CHANNEL/policy.json        the rollout policy, see `pocketrec_bundle.settings.rollout`
channels/CHANNEL/experiments.json   the experiments, see `pocketrec_bundle.settings.experiments`
channels/CHANNEL/guardrails.json    see `pocketrec_bundle.settings.release_guardrails`
channels/CHANNEL/<sha256>.json      the manifest of each live release; its custom fields are TIMES
channels/CHANNEL/deltas/...         see deltas.py
"""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tuf.api.metadata import TargetFile

from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import USUAL_VERSION, Manifest, parse_manifest
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.release_guardrails import ReleaseGuardrails
from pocketrec_bundle.settings.rollout import KILLED, RolloutPolicy, Stage
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import blobs, deltas
from pocketrec_server.repository.roles import TARGETS, channels_of
from pocketrec_server.repository.rollout import needs_app, offered
from pocketrec_server.repository.state import State

_FIRST_PERCENT = "x-pocketrec-first-percent"
"""Field of a channel's metadata; a string, because canonical JSON has no fractions."""
_PERCENT = re.compile(r"(?:\d{1,2}|100)\.\d{6}", re.ASCII)
MOST_KEPT = 20
"""Maximum number of previous releases from which deltas lead to a release."""
TIMES = ("built_utc", "published_utc")


class Channel:
    """A channel in a loaded state. `State.write` signs the changes made here.

    Attributes:
        name: name of the channel.
    """

    def __init__(self, repo: Path, state: State, name: str) -> None:
        """Find a channel by its name.

        Raises:
            InputError: the channel is unknown.
        """
        names = channels_of(state.targets[TARGETS])
        if name not in names:
            raise InputError(
                f"no channel {name!r}; known channels: {', '.join(names)}. "
                f"Add it with `pocketrec keys add-channel {name}`."
            )
        self.name, self._repo, self._state = name, repo, state
        self._policy_path = f"channels/{name}/policy.json"
        self._experiments_path = f"channels/{name}/experiments.json"
        self._guardrails_path = f"channels/{name}/guardrails.json"

    @property
    def targets(self) -> Mapping[str, TargetFile]:
        """Targets in the channel's metadata, by path."""
        return self._state.targets[self.name].targets

    def policy(self) -> RolloutPolicy:
        """Read the channel's policy. Before the first publish it has no releases."""
        target = self.targets.get(self._policy_path)
        if target is None:
            return RolloutPolicy(channel=self.name)
        return RolloutPolicy.from_bytes(blobs.read(self._repo, target))

    def experiments(self) -> Experiments:
        """Read the channel's experiments. Before the first one the target does not exist."""
        target = self.targets.get(self._experiments_path)
        if target is None:
            return Experiments(channel=self.name)
        return Experiments.from_bytes(blobs.read(self._repo, target))

    def set_experiments(self, experiments: Experiments) -> None:
        """Set the channel's experiments, beside its policy.

        Raises:
            BundleInvalidError: devices would reject them.
        """
        path, data = self._experiments_path, experiments.to_bytes()
        self._state.edit(self.name).targets[path] = blobs.store(self._repo, path, data)

    def guardrails(self) -> ReleaseGuardrails:
        """Read the guardrails of the channel's releases. Before the first one it has no target."""
        target = self.targets.get(self._guardrails_path)
        if target is None:
            return ReleaseGuardrails(channel=self.name)
        return ReleaseGuardrails.from_bytes(blobs.read(self._repo, target))

    def set_guardrails(self, guardrails: ReleaseGuardrails) -> None:
        """Set the guardrails of the channel's releases, beside its policy.

        Raises:
            BundleInvalidError: the server would reject them.
        """
        path, data = self._guardrails_path, guardrails.to_bytes()
        self._state.edit(self.name).targets[path] = blobs.store(self._repo, path, data)

    @property
    def first_percent(self) -> float:
        """Share of the devices at which releases start, 0..100; part of the signed metadata.

        If it was never set, it is the share of the newest release.
        """
        value = self._state.targets[self.name].unrecognized_fields.get(_FIRST_PERCENT)
        if isinstance(value, str) and _PERCENT.fullmatch(value):
            return float(value)
        newest = next(iter(self.policy().releases), None)
        return newest.percent if newest else 100.0

    @first_percent.setter
    def first_percent(self, percent: float) -> None:
        self._state.edit(self.name).unrecognized_fields[_FIRST_PERCENT] = f"{percent:.6f}"

    def add_manifest(self, sha: str, data: bytes, built_utc: int | None = None) -> None:
        """Store the manifest of a release that the next policy names.

        Its custom metadata holds the time of the build, if known, and the time at which the release
        was first published on the channel.
        """
        path = self._manifest_path(sha)
        times = {"published_utc": int(time.time())}
        times |= {} if built_utc is None else {"built_utc": built_utc}
        target = blobs.store(self._repo, path, data)
        target.unrecognized_fields["custom"] = self.times(sha) or times
        self._state.edit(self.name).targets[path] = target

    def times(self, sha: str) -> dict[str, int]:
        """Return the build and publish times of a release, unix seconds; empty if unknown."""
        target = self.targets.get(self._manifest_path(sha))
        custom = target.custom if target else None
        custom_fields = custom if isinstance(custom, dict) else {}
        return {
            key: custom_fields[key]
            for key in TIMES
            if is_integer(custom_fields.get(key), 0, MAX_UTC)
        }

    def set_policy(self, policy: RolloutPolicy, new_deltas: Mapping[str, TargetFile]) -> None:
        """Set the policy, the manifests of its releases, and the deltas that lead to them.

        The channel's experiments and guardrails stay as they are.

        Args:
            policy: the new policy.
            new_deltas: new deltas, by path.

        Raises:
            InputError: the policy has a release that was never published on this channel, or one
                that older apps do not read without a minimum version of the app.
            BundleInvalidError: devices would reject the policy.
        """
        targets = {self._policy_path: blobs.store(self._repo, self._policy_path, policy.to_bytes())}
        for path in (self._experiments_path, self._guardrails_path):
            if (kept := self.targets.get(path)) is not None:
                targets[path] = kept
        for stage in policy.releases:
            path = self._manifest_path(stage.manifest)
            if path not in self.targets:
                raise InputError(f"{self.name}: release {stage.manifest[:12]} is not published.")
            targets[path] = self.targets[path]
            self._check_app(stage)
        known = deltas.named(self.targets.values())
        for stage in offered(policy):
            for name in self.pairs(policy, stage, MOST_KEPT).keys() & known.keys():
                targets[known[name].path] = known[name]
        self._state.edit(self.name).targets = {**targets, **new_deltas}

    def _check_app(self, stage: Stage) -> None:
        if stage.app.least is None and stage.state != KILLED:
            with suppress(RepositoryInvalidError):
                manifest = self.manifest(stage)
                if manifest.format_version > USUAL_VERSION:
                    raise needs_app(manifest)

    def pairs(self, policy: RolloutPolicy, stage: Stage, keep: int) -> dict[str, deltas.Pair]:
        """List the possible deltas to a release from the `keep` previous ones; see `deltas.pairs`.

        Previous releases without a manifest are skipped.

        Raises:
            RepositoryInvalidError: the manifest of the release is missing.
        """
        position = policy.releases.index(stage)
        before = policy.releases[position + 1 : position + 1 + keep]
        return deltas.pairs(self.manifest(stage), self._there(before))

    def _there(self, stages: tuple[Stage, ...]) -> Iterator[Manifest]:
        for stage in stages:
            with suppress(RepositoryInvalidError):
                yield self.manifest(stage)

    def manifest(self, stage: Stage) -> Manifest:
        """Read the manifest of a release in the channel's policy.

        Raises:
            RepositoryInvalidError: the manifest is missing or was changed.
        """
        target = self.targets[self._manifest_path(stage.manifest)]
        return parse_manifest(blobs.read(self._repo, target))

    def _manifest_path(self, sha: str) -> str:
        return f"channels/{self.name}/{sha}.json"
