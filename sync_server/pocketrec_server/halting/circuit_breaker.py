"""Circuit breaker: halt a release that fails on too many devices, without waiting for a person.

The policy, signed with the channel's key, sets the limit (`most_failures`). The server has the key
of the role `brake`, which can halt a release but not publish one. An attacker on the server can do
no more than that.

Outcomes carry no proof, and one sender can invent any number of them. So:

- Each network counts as one device. Its failure is the share of its outcomes that are failures.
- The network with the largest share is left out.

One network can then neither cause a halt nor prevent one. `networks.py` keeps the counts;
docs/decisions/0019 has the measurements.
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
"""Bounds of `FailureLimit.of`: fewer networks prove nothing, more add no information."""
WINDOW = 1_000
"""Minimum size of the window: the networks that reported last. Older reports cannot hide a new
failure, and so many networks rarely exceed a limit by chance (decision 0019)."""
FEWEST_FAILING = 3
"""Minimum number of networks with failures for a halt, without the one that failed most."""


def needed(limit: FailureLimit) -> int:
    """Return the minimum number of reporting networks for a halt."""
    return min(max(limit.of, FEWEST_NETWORKS), MOST_NEEDED) + 1


def why_halt(limit: FailureLimit | None, networks: Sequence[Health]) -> str | None:
    """Return the reason to halt a release, or None to let it continue.

    Args:
        limit: failure limit of the release; None: it is never halted automatically.
        networks: outcomes by network; networks without a counted outcome are ignored.
    """
    reporting = [health for health in networks if health.told]
    if limit is None or len(reporting) < needed(limit):
        return None
    shares = sorted((health.failed_share for health in reporting), reverse=True)[1:]
    failing, failed = sum(share > 0 for share in shares), sum(shares)
    if failing < FEWEST_FAILING or failed <= limit.share * len(shares):
        return None
    mean = failed / len(shares)
    return f"{mean:.0%} of devices failed, the mean of {len(shares)} networks ({_parts(reporting)})"


def _parts(reporting: Sequence[Health]) -> str:
    parts = {
        "self-test": sum(health.self_test_failed for health in reporting),
        "reverted": sum(health.reverted for health in reporting),
        "download": sum(health.download_failed for health in reporting),
    }
    return ", ".join(f"{name} {n}" for name, n in parts.items() if n)


def what_lacks(limit: FailureLimit | None, n_networks: int) -> str | None:
    """Return why a release cannot be halted automatically yet; None if it can."""
    if limit is None or n_networks >= (minimum := needed(limit)):
        return None
    if n_networks == 1:
        return (
            f"all outcomes come from one network; automatic halting needs {minimum} networks. "
            "If phones reach the server through a proxy, start it with --behind-proxy."
        )
    return f"outcomes come from {n_networks} networks; automatic halting needs {minimum}"


def judged(limit: FailureLimit) -> int:
    """Return the size of a release's window: the number of last networks that count."""
    return max(WINDOW, 2 * needed(limit))


def networks_of(engine: Engine, channel: str, manifest: str, limit: FailureLimit) -> list[Health]:
    """Read the outcomes of the networks in a release's window."""
    return [Health(**sums) for sums in recent(engine, channel, manifest, judged(limit))]


def lacks(engine: Engine, channel: str, stage: Stage) -> str | None:
    """Return why a release cannot be halted automatically yet; None if it can.

    Also None if no outcome was reported yet.
    """
    limit = stage.most_failures
    if limit is None or stage.state != ACTIVE:
        return None
    n_networks = len(networks_of(engine, channel, stage.manifest, limit))
    return what_lacks(limit, n_networks) if n_networks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """Policy and halts of a channel."""

    policy: RolloutPolicy
    halts: Halts


def published(repo: Path, channel: str) -> ChannelState:
    """Read policy and halts of a channel, cached until the next publish.

    Raises:
        InputError: the channel is unknown.
        RepositoryInvalidError: the repository is missing or damaged.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return _published(repo, channel, 0, 0)
    return _published(repo, channel, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=64)
def _published(repo: Path, channel: str, _file: int, _changed_ns: int) -> ChannelState:
    return ChannelState(policy=read_policy(repo, channel), halts=read_halts(repo, channel))


class CircuitBreaker:
    """Halts releases of one repository."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers
        self._halting = threading.Lock()

    def check(self, channel: str, manifests: Collection[str]) -> list[str]:
        """Halt the releases that exceed their failure limit; return their manifests.

        A halt that cannot be signed is logged, and retried at the next outcome of the release.
        """
        done = []
        try:
            state = published(self._repo, channel)
            for stage in state.policy.releases:
                halted = state.halts.reason(stage.manifest) is not None
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
        self._signers[BRAKE]  # raises before the audit log gets an entry for each outcome
        if not self._halting.acquire(blocking=False):
            return False  # another thread is halting, and may be waiting for a publish
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
