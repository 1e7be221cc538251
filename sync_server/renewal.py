"""Sign again before it expires: what is due, and the command and the thread that see to it.

Half of a role's lifetime is left for a server that is down, or a cron job that nobody misses.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Signed

from bundle.errors import PocketRecError
from sync_server import state
from sync_server.keys import Signers
from sync_server.roles import ROOT, THRESHOLD, lifetime

EVERY_S = 3600.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """Roles that were signed again, and those that are due but whose key is not here."""

    signed: list[str]
    due: list[str]


def is_due(role: str, signed: Signed, now: datetime | None = None) -> bool:
    """Whether less than half of a role's lifetime is left."""
    return signed.expires - (now or datetime.now(UTC)) < lifetime(role) / 2


def refresh(
    repo: Path, signers: Signers, *, everything: bool = False, now: datetime | None = None
) -> Renewed:
    """Sign what expires within half of its lifetime again, as far as its keys are here.

    Args:
        repo: the repository.
        signers: those that are here; snapshot and timestamp at least.
        everything: sign all that can be signed, due or not.
        now: the time.

    Raises:
        KeysInvalid: the key of snapshot or timestamp is missing, or a key cannot be opened.
        RepositoryInvalid: nothing is published, or the repository is damaged or being written.
    """
    with state.writing(repo):
        found = state.load(repo)
        wanted = [
            role
            for role, signed in found.signed().items()
            if everything or is_due(role, signed, now)
        ]
        able = [role for role in wanted if _can_sign(role, signers)]
        if able:
            if ROOT in able:
                found.next_root()
            found.changed.update(able)
            found.write(repo, signers, now)
        return Renewed(signed=able, due=[role for role in wanted if role not in able])


def keep_fresh(
    repo: Path, signers: Signers, stop: threading.Event, every_s: float = EVERY_S
) -> threading.Thread:
    """Start a thread that refreshes now and then; a failure is logged, and tried again.

    Args:
        repo: the repository; may still be empty.
        signers: of the online roles.
        stop: ends the thread.
        every_s: seconds between two looks.
    """

    def run() -> None:
        while True:
            try:
                if state.exists(repo):
                    renewed = refresh(repo, signers)
                    for role in renewed.signed:
                        _LOG.info("signed %s again", role)
                    for role in renewed.due:
                        _LOG.warning("%s expires; its key is not on this server", role)
            except PocketRecError as err:
                _LOG.error("metadata was not renewed: %s", err)
            if stop.wait(every_s):
                return

    thread = threading.Thread(target=run, name="renewal", daemon=True)
    thread.start()
    return thread


def _can_sign(role: str, signers: Signers) -> bool:
    if role == ROOT:
        return len(signers.root_names()) >= THRESHOLD
    return role in signers
