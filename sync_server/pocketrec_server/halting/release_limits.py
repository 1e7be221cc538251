"""Read and change the guardrails of a channel's releases, and name the rollouts that they watch.

channels/CHANNEL/guardrails.json    see `pocketrec_bundle.settings.release_guardrails`
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pocketrec_bundle.errors import BundleInvalidError, InputError, PocketRecError
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.release_guardrails import ReleaseGuardrails
from pocketrec_bundle.settings.rollout import KILLED, RolloutPolicy, Stage
from pocketrec_server.repository import state
from pocketrec_server.repository.channel import Channel
from pocketrec_server.repository.halts import halts_in
from pocketrec_server.repository.history import NOBODY, Note, policy_history, record
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import TARGETS, channels_of
from pocketrec_server.repository.standing import LIVE, standings

RELEASE_DIGITS = 16
"""Hex digits of a manifest's hash that request events name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedStage:
    """A stage of a rollout in which a release is compared with earlier ones.

    Attributes:
        channel: its name.
        stage: the release, which some of the devices are offered.
        earlier: first digits of the manifests of the earlier releases.
        begin_utc: begin of the stage: when its share or another setting changed last.
    """

    channel: str
    stage: Stage
    earlier: frozenset[str]
    begin_utc: int

    @property
    def release(self) -> str:
        """First digits of the release's manifest, as request events name it."""
        return self.stage.manifest[:RELEASE_DIGITS]

    @property
    def rollout(self) -> str:
        """Channel and release, the begin of the subjects of all its stages."""
        return f"{self.channel} {self.release} "

    @property
    def subject(self) -> str:
        """Channel, release, begin and share of the stage; two can begin within a second.

        At most 64 characters, for the tables: numbers are hexadecimal, shares in hundredths.
        """
        share = round(self.stage.percent_at(self.begin_utc) * 100)
        return f"{self.rollout}{self.begin_utc:x} {share:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """What is signed about the releases of a channel, and when each one changed last."""

    policy: RolloutPolicy
    halts: Halts
    guardrails: ReleaseGuardrails
    changed_utc: dict[str, int]


def read_guardrails(repo: Path, channel: str) -> ReleaseGuardrails:
    """Read the guardrails of a channel's releases; before the first one it has none.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    return Channel(repo, state.load(repo), channel).guardrails()


def with_guardrail(before: ReleaseGuardrails, added: Guardrail) -> ReleaseGuardrails:
    """Return the guardrails with one added, in place of the one of its metric."""
    others = tuple(one for one in before.guardrails if one.metric != added.metric)
    return replace(before, guardrails=(*others, added))


def without(before: ReleaseGuardrails, metrics: Collection[str]) -> ReleaseGuardrails:
    """Return the guardrails without those of some metrics.

    Raises:
        InputError: a metric has no guardrail.
    """
    known = [one.metric for one in before.guardrails]
    if missing := [name for name in metrics if name not in known]:
        raise InputError(
            f"{before.channel}: no guardrail of {', '.join(missing)}; it has "
            f"{', '.join(known) or 'no guardrails'}."
        )
    kept = tuple(one for one in before.guardrails if one.metric not in metrics)
    return replace(before, guardrails=kept)


def change_guardrails(
    repo: Path,
    signers: Signers,
    channel: str,
    change: Callable[[ReleaseGuardrails], ReleaseGuardrails],
    note: Note = NOBODY,
) -> ReleaseGuardrails:
    """Change the guardrails of a channel's releases, signed with the channel's key.

    Raises:
        InputError: the channel is unknown, or a value is out of bounds.
        KeysInvalidError: keys that have to sign are missing.
        RepositoryInvalidError: the repository is missing, damaged or being written.
    """
    with state.writing(repo):
        current = state.load(repo)
        place = Channel(repo, current, channel)
        before = place.guardrails()
        after = change(before)
        if after == before:
            return after
        try:
            place.set_guardrails(after)
        except BundleInvalidError as err:
            raise InputError(str(err)) from err
        facts = {"before": text_of(before), "after": text_of(after)}
        record(repo, current, channel, note, "guardrails", channel=channel, **facts)
        current.write(repo, signers)
        return after


def text_of(guardrails: ReleaseGuardrails) -> str:
    """Describe guardrails in one line."""
    if not guardrails.guardrails:
        return "no guardrails"
    parts = (f"{one.metric} {one.worse_by:g} {one.alpha:g}" for one in guardrails.guardrails)
    return f"{', '.join(parts)} over {guardrails.days} days"


def guarded_stages(repo: Path, now_utc: float) -> list[GuardedStage]:
    """Return the stages of all channels in which a release is compared with earlier ones.

    The files are cached until the next publish, because each upload of events asks.

    Raises:
        RepositoryInvalidError: the repository is missing or damaged.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return []
    signed = _signed(repo, changed.st_ino, changed.st_mtime_ns)
    stages = (_guarded(one, stage, now_utc) for one in signed for stage in one.policy.releases)
    return [stage for stage in stages if stage is not None]


def watched(repo: Path, now_utc: float) -> list[str]:
    """Return the subjects of `guarded_stages`; empty if the repository cannot be read.

    Uploads of events must not fail with the repository; the guardrails log the same error.
    """
    try:
        return [one.subject for one in guarded_stages(repo, now_utc)]
    except PocketRecError:
        return []


def guarded_stage(repo: Path, channel: str, stage: Stage, now_utc: float) -> GuardedStage | None:
    """Return the present stage of a release if it is compared with earlier ones, else None.

    Raises the errors of `guarded_stages`.
    """
    found = guarded_stages(repo, now_utc)
    same = (one for one in found if (one.channel, one.stage) == (channel, stage))
    return next(same, None)


def _guarded(signed: _Signed, stage: Stage, now_utc: float) -> GuardedStage | None:
    if not signed.guardrails.guardrails:
        return None
    halted = {one.manifest for one in signed.halts.halted}
    stands = standings(signed.policy, halted, now_utc)
    standing = stands[signed.policy.releases.index(stage)]
    earlier, share = _earlier(signed.policy, stage), stage.percent_at(now_utc)
    begin = max(
        signed.changed_utc.get(stage.manifest, 0),
        stage.from_utc,
        *(at for at, _ in stage.ramp if at <= now_utc),
        0,
    )
    if standing.state != LIVE or not 0 < share < 100 or not earlier or not begin:
        return None
    return GuardedStage(
        channel=signed.policy.channel,
        stage=stage,
        earlier=frozenset(one.manifest[:RELEASE_DIGITS] for one in earlier),
        begin_utc=begin,
    )


def _earlier(policy: RolloutPolicy, stage: Stage) -> list[Stage]:
    later = policy.releases[policy.releases.index(stage) + 1 :]
    return [one for one in later if one.state != KILLED]


@lru_cache(maxsize=16)
def _signed(repo: Path, _file: int, _changed_ns: int) -> list[_Signed]:
    current, found = state.load(repo), []
    for name in channels_of(current.targets[TARGETS]):
        place = Channel(repo, current, name)
        if not (guardrails := place.guardrails()).guardrails:
            continue
        policy = place.policy()
        changed = {
            stage.manifest: place.times(stage.manifest).get("published_utc", 0)
            for stage in policy.releases
        }
        for change in reversed(policy_history(repo, name)):
            if change.manifest in changed:
                changed[change.manifest] = change.when_utc
        halts = halts_in(repo, current, name)
        found.append(
            _Signed(policy=policy, halts=halts, guardrails=guardrails, changed_utc=changed)
        )
    return found
