"""One channel of a repository: its policy, the manifests of its releases, the deltas to them.

channels/CHANNEL/policy.json        the rollout policy, see `pocketrec_bundle.settings.rollout`
channels/CHANNEL/<sha256>.json      the manifest of each live release, with TIMES beside it
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
from pocketrec_bundle.manifest import Manifest, parse_manifest
from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import blobs, deltas
from pocketrec_server.repository.roles import TARGETS, channels_of
from pocketrec_server.repository.stages import offered
from pocketrec_server.repository.state import State

_FIRST_PERCENT = "x-pocketrec-first-percent"
"""Field of a channel's metadata; a text, since canonical JSON has no fractions."""
_PERCENT = re.compile(r"(?:\d{1,2}|100)\.\d{6}", re.ASCII)
MOST_KEPT = 20
"""Deltas lead to a release from at most so many before it."""
TIMES = ("built_utc", "published_utc")


class Channel:
    """A channel in a state that was read; what is set here is signed when the state is written."""

    def __init__(self, repo: Path, state: State, name: str) -> None:
        """Look a channel up.

        Raises:
            InputError: there is no such channel.
        """
        names = channels_of(state.targets[TARGETS])
        if name not in names:
            raise InputError(
                f"no channel {name!r}; there are {', '.join(names)}. "
                f"Add it with `pocketrec keys add-channel {name}`."
            )
        self.name, self._repo, self._state = name, repo, state
        self._policy_path = f"channels/{name}/policy.json"

    @property
    def targets(self) -> Mapping[str, TargetFile]:
        """What its metadata names."""
        return self._state.targets[self.name].targets

    def policy(self) -> RolloutPolicy:
        """Read its policy, which names no release before the first publish."""
        target = self.targets.get(self._policy_path)
        if target is None:
            return RolloutPolicy(channel=self.name)
        return RolloutPolicy.from_bytes(blobs.read(self._repo, target))

    @property
    def first_percent(self) -> float:
        """Share of the devices at which its releases start, signed with its metadata.

        A channel that never had one, and whose newest release is staged, starts at that share.
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
        """Store a release's manifest; a policy has to name it next.

        Its custom metadata says when the release was built, if that is known, and when it was first
        published on the channel.
        """
        path = self._manifest_path(sha)
        times = {"published_utc": int(time.time())}
        times |= {} if built_utc is None else {"built_utc": built_utc}
        target = blobs.store(self._repo, path, data)
        target.unrecognized_fields["custom"] = self.times(sha) or times
        self._state.edit(self.name).targets[path] = target

    def times(self, sha: str) -> dict[str, int]:
        """When a release was built and published, unix seconds; empty: nobody noted it."""
        target = self.targets.get(self._manifest_path(sha))
        custom = target.custom if target else None
        found = custom if isinstance(custom, dict) else {}
        return {key: found[key] for key in TIMES if is_integer(found.get(key), 0, MAX_UTC)}

    def set_policy(self, policy: RolloutPolicy, made: Mapping[str, TargetFile]) -> None:
        """Name a policy, the manifests of its releases, and the deltas that lead to them.

        Args:
            policy: the new one.
            made: deltas that are new.

        Raises:
            InputError: the policy names a release that was never published here.
            BundleInvalidError: devices would refuse the policy.
        """
        found = {self._policy_path: blobs.store(self._repo, self._policy_path, policy.to_bytes())}
        for stage in policy.releases:
            path = self._manifest_path(stage.manifest)
            if path not in self.targets:
                raise InputError(f"{self.name}: release {stage.manifest[:12]} is not published.")
            found[path] = self.targets[path]
        known = deltas.named(self.targets.values())
        for stage in offered(policy):
            for name in self.pairs(policy, stage, MOST_KEPT).keys() & known.keys():
                found[known[name].path] = known[name]
        self._state.edit(self.name).targets = {**found, **made}

    def pairs(self, policy: RolloutPolicy, stage: Stage, keep: int) -> dict[str, deltas.Pair]:
        """What deltas could lead to a release from `keep` before it, see `deltas.pairs`.

        Raises:
            RepositoryInvalidError: its manifest is gone; older ones that are gone are passed over.
        """
        at = policy.releases.index(stage)
        before = policy.releases[at + 1 : at + 1 + keep]
        return deltas.pairs(self.manifest(stage), self._there(before))

    def _there(self, stages: tuple[Stage, ...]) -> Iterator[Manifest]:
        for stage in stages:
            with suppress(RepositoryInvalidError):
                yield self.manifest(stage)

    def manifest(self, stage: Stage) -> Manifest:
        """Read the manifest of a release that its policy names.

        Raises:
            RepositoryInvalidError: it is gone or was changed.
        """
        target = self.targets[self._manifest_path(stage.manifest)]
        return parse_manifest(blobs.read(self._repo, target))

    def _manifest_path(self, sha: str) -> str:
        return f"channels/{self.name}/{sha}.json"
