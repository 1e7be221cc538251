"""Stop a release that fails on too many devices, without waiting for a person.

The policy, signed by the channel's key, says what is too many (`most_failures`). The server holds
the brake's key, which can stop a release and not publish one: whoever takes the server over can do
no more with it. Outcomes carry no proof, so this is the most that they may bring about.
"""

import logging
from pathlib import Path

from sqlalchemy import Engine

from bundle.errors import PocketRecError
from bundle.rollout import ACTIVE, FailureLimit
from sync_server.keys import Signers
from sync_server.outcomes import Health, healths
from sync_server.repository import halt, read_halts, read_policy

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


class Brake:
    """Halts releases of one repository."""

    def __init__(self, repo: Path, engine: Engine, signers: Signers) -> None:
        self._repo, self._engine, self._signers = repo, engine, signers

    def check(self, channel: str) -> list[str]:
        """Halt what must be halted; returns the manifests of these.

        What cannot be signed now is logged, and tried again with the next failure that is told.
        """
        done = []
        try:
            halts = read_halts(self._repo, channel)
            counted = healths(self._engine, channel)
            for stage in read_policy(self._repo, channel).releases:
                health = counted.get(stage.manifest, Health())
                why = why_halt(stage.most_failures, health)
                if stage.state != ACTIVE or why is None or halts.reason(stage.manifest) is not None:
                    continue
                if halt(self._repo, self._signers, channel, stage.manifest, why):
                    _LOG.warning("halted %s on %s: %s", stage.name, channel, why)
                    done.append(stage.manifest)
        except PocketRecError as err:
            _LOG.error("channel %s cannot be halted: %s", channel, err)
        return done
