"""Stop a release that fails on too many devices, without waiting for a person.

The policy, signed by the channel's key, says what is too many (`most_failures`). The server holds
the brake's key, which can stop a release and not publish one: whoever takes the server over can do
no more with it.

Outcomes carry no proof, and one sender can invent any number of them. So each network counts as
one device, which failed to the share of its outcomes that are failures, and the network that failed
most is left out. One network can then neither bring a halt about nor prevent one
(`outcome_networks.py` has what is counted; docs/decisions/0019 has the figures).
"""

import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.halts import Halts
from pocketrec_bundle.settings.rollout import ACTIVE, FailureLimit, RolloutPolicy, Stage
from pocketrec_server.auth import audit
from pocketrec_server.halting.networks import forget_networks, recent
from pocketrec_server.halting.outcomes import Health
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.publish import halt, read_halts, read_policy
from pocketrec_server.repository.roles import BRAKE

_LOG = logging.getLogger("pocketrec_server")

FEWEST_NETWORKS, MOST_NEEDED = 5, 5_000
"""Bounds of `FailureLimit.of`: fewer networks prove nothing; more than that tell nothing new."""
WINDOW = 1_000
"""Networks that are judged at least, if there are so many: the last ones. What they reported before
cannot dilute a failure, and by chance alone so many hardly exceed a limit (decision 0019)."""
FEWEST_FAILING = 3
"""Networks with failures that a halt takes, the one that failed most not counted."""


def needed(limit: FailureLimit) -> int:
    """Return from how many networks outcomes must come before a release may be halted."""
    return min(max(limit.of, FEWEST_NETWORKS), MOST_NEEDED) + 1


def why_halt(limit: FailureLimit | None, networks: Sequence[Health]) -> str | None:
    """Return why a release must be halted, or None.

    Args:
        limit: of the release; None: it is never halted by itself.
        networks: what each network reported; those that reported nothing judged do not count.
    """
    told = [health for health in networks if health.told]
    if limit is None or len(told) < needed(limit):
        return None
    shares = sorted((health.failed_share for health in told), reverse=True)[1:]
    failing, failed = sum(share > 0 for share in shares), sum(shares)
    if failing < FEWEST_FAILING or failed <= limit.share * len(shares):
        return None
    mean = failed / len(shares)
    return f"{mean:.0%} of devices failed, the mean of {len(shares)} networks ({_parts(told)})"


def _parts(told: Sequence[Health]) -> str:
    parts = {
        "self-test": sum(health.self_test_failed for health in told),
        "reverted": sum(health.reverted for health in told),
        "download": sum(health.download_failed for health in told),
    }
    return ", ".join(f"{name} {n}" for name, n in parts.items() if n)


def what_lacks(limit: FailureLimit | None, n_networks: int) -> str | None:
    """Return why a release cannot be halted by itself yet, for its operator; None: it can be."""
    if limit is None or n_networks >= (wanted := needed(limit)):
        return None
    if n_networks == 1:
        return (
            f"all outcomes come from one network; automatic halting needs {wanted} networks. "
            "If phones reach the server through a proxy, start it with --behind-proxy."
        )
    return f"outcomes come from {n_networks} networks; automatic halting needs {wanted}"


def judged(limit: FailureLimit) -> int:
    """Return how many of the last networks a release is judged by, if there are so many."""
    return max(WINDOW, 2 * needed(limit))


def networks_of(engine: Engine, channel: str, manifest: str, limit: FailureLimit) -> list[Health]:
    """Read what the networks that a release is judged by reported."""
    return [Health(**sums) for sums in recent(engine, channel, manifest, judged(limit))]


def lacks(engine: Engine, channel: str, stage: Stage) -> str | None:
    """Return what an automatic halt of a release lacks, for its operator; None: nothing.

    Without any outcome there is nothing to say yet.
    """
    limit = stage.most_failures
    if limit is None or stage.state != ACTIVE:
        return None
    n_networks = len(networks_of(engine, channel, stage.manifest, limit))
    return what_lacks(limit, n_networks) if n_networks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a channel says now."""

    policy: RolloutPolicy
    halts: Halts


def published(repo: Path, channel: str) -> Published:
    """Read policy and halts of a channel; their signatures are checked once a publish.

    Raises:
        InputError: there is no such channel.
        RepositoryInvalidError: the repository is damaged, or nothing was published.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return _published(repo, channel, 0, 0)
    return _published(repo, channel, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=64)
def _published(repo: Path, channel: str, _file: int, _changed_ns: int) -> Published:
    return Published(policy=read_policy(repo, channel), halts=read_halts(repo, channel))


class CircuitBreaker:
    """Halts releases of one repository."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers
        self._halting = threading.Lock()

    def check(self, channel: str, manifests: Collection[str]) -> list[str]:
        """Halt those of some releases that must be; returns the manifests of these.

        What cannot be signed now is logged, and tried again with the next outcome of the release.
        """
        done = []
        try:
            found = published(self._repo, channel)
            for stage in found.policy.releases:
                halted = found.halts.reason(stage.manifest) is not None
                if stage.manifest not in manifests or halted or stage.state != ACTIVE:
                    continue
                why = self._why(channel, stage)
                if why is not None and self._halt(channel, stage.manifest, why):
                    _LOG.warning("halted %s on %s: %s", stage.name, channel, why)
                    done.append(stage.manifest)
        except PocketRecError as err:
            _LOG.error("channel %s cannot be halted: %s", channel, err)
        return done

    def _why(self, channel: str, stage: Stage) -> str | None:
        if (limit := stage.most_failures) is None:
            return None
        return why_halt(limit, networks_of(self._engine, channel, stage.manifest, limit))

    def _halt(self, channel: str, manifest: str, why: str) -> bool:
        self._signers[BRAKE]  # raises before the audit log is written to, once an outcome
        if not self._halting.acquire(blocking=False):
            return False  # another thread is at it, and may have to wait for a publish
        try:
            return self._do(channel, manifest, why)
        finally:
            self._halting.release()

    def _do(self, channel: str, manifest: str, why: str) -> bool:
        subject = f"{channel} {manifest}"
        with audit.noted(self._engine, audit.SERVER, "halt", subject, reason=why):
            if not halt(self._repo, self._signers, channel, manifest, why, by=audit.SERVER):
                return False
            forget_networks(self._engine, channel, manifest)
            return True
