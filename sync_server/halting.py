"""Stop a release that fails on too many devices, without waiting for a person.

The policy, signed by the channel's key, says what is too many (`most_failures`). The server holds
the brake's key, which can stop a release and not publish one: whoever takes the server over can do
no more with it. Outcomes carry no proof, so this is the most that they may bring about. A release
that a person lets go on is judged by the devices that tell of it from then on.
"""

import logging
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine

from bundle.errors import PocketRecError
from bundle.halts import Halts
from bundle.rollout import ACTIVE, FailureLimit, RolloutPolicy
from sync_server import audit
from sync_server.keys import Signers
from sync_server.outcomes import Health, mark_halt, since_halt
from sync_server.repository import halt, read_halts, read_policy
from sync_server.roles import BRAKE

_LOG = logging.getLogger("sync_server")


def why_halt(limit: FailureLimit | None, health: Health) -> str | None:
    """Say why a release must be halted; None: it need not be."""
    if limit is None or health.told < limit.of or health.failed <= limit.share * health.told:
        return None
    parts = {
        "self-test": health.self_test_failed,
        "reverted": health.reverted,
        "download": health.download_failed,
    }
    of_what = ", ".join(f"{name} {n}" for name, n in parts.items() if n)
    return f"failed on {health.failed} of {health.told} devices ({of_what})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a channel says now."""

    policy: RolloutPolicy
    halts: Halts


def published(repo: Path, channel: str) -> Published:
    """Read policy and halts of a channel; their signatures are checked once a publish.

    Raises:
        InputError: there is no such channel.
        RepositoryInvalid: the repository is damaged, or nothing was published.
    """
    try:
        changed = (repo / "metadata" / "timestamp.json").stat()
    except OSError:
        return _published(repo, channel, 0, 0)
    return _published(repo, channel, changed.st_ino, changed.st_mtime_ns)


@lru_cache(maxsize=64)
def _published(repo: Path, channel: str, _file: int, _changed_ns: int) -> Published:
    return Published(policy=read_policy(repo, channel), halts=read_halts(repo, channel))


class Brake:
    """Halts releases of one repository."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers
        self._halting = threading.Lock()

    def check(self, channel: str) -> list[str]:
        """Halt what must be halted; returns the manifests of these.

        What cannot be signed now is logged, and tried again with the next outcome that is told.
        """
        done = []
        try:
            found = published(self._repo, channel)
            counted = since_halt(self._engine, channel)
            for stage in found.policy.releases:
                why = why_halt(stage.most_failures, counted.get(stage.manifest, Health()))
                halted = found.halts.reason(stage.manifest) is not None
                if why is None or halted or stage.state != ACTIVE:
                    continue
                if self._halt(channel, stage.manifest, why):
                    _LOG.warning("halted %s on %s: %s", stage.name, channel, why)
                    done.append(stage.manifest)
        except PocketRecError as err:
            _LOG.error("channel %s cannot be halted: %s", channel, err)
        return done

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
            mark_halt(self._engine, channel, manifest)
            return True
