"""Sign again before it expires: what is due, and the command and the thread that see to it.

Half of a role's lifetime is left for a server that is down, or a cron job that nobody misses.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Signed

from pocketrec_bundle.errors import PocketRecError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import Signers
from pocketrec_server.repository.roles import (
    ONLINE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    THRESHOLD,
    TIMESTAMP,
    TOP_LEVEL,
    lifetime,
)
from pocketrec_server.repository.state import State

EVERY_S = 3600.0
OK, DUE, EXPIRED = "ok", "due", "expired"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """Roles that were signed again, and those that are due but whose key is not here."""

    signed: list[str]
    due: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """One role: until when it is good, who signs it, and what to do about it.

    here: names of its keys that are in the folders that were looked at.
    """

    role: str
    version: int
    expires_utc: int
    left_s: int
    state: str
    threshold: int
    keyids: list[str]
    here: list[str]
    remedy: str


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
        KeysInvalidError: the key of snapshot or timestamp is missing, or a key cannot be opened.
        RepositoryInvalidError: nothing is published, or the repository is damaged or being written.
    """
    with state.writing(repo):
        found = state.load(repo)
        due = {role for role, signed in found.signed().items() if is_due(role, signed, now)}
        able = [
            role
            for role in found.signed()
            if (everything or role in due) and _can_sign(found, role, signers)
        ]
        if ROOT in able:
            found.next_root()
        found.changed.update(able)
        signed = found.write(repo, signers, now) if able else []
        return Renewed(signed=signed, due=sorted(due - set(able)))


def status(repo: Path, signers: Signers, now: datetime | None = None) -> list[RoleStatus]:
    """How each role stands.

    Raises:
        RepositoryInvalidError: nothing is published, or the repository is damaged.
    """
    moment = now or datetime.now(UTC)
    found = state.load(repo)
    rows = []
    for role, signed in found.signed().items():
        by = found.root if role in TOP_LEVEL else found.targets[TARGETS]
        delegated = by.get_delegated_role(role)
        left_s = int((signed.expires - moment).total_seconds())
        due = DUE if is_due(role, signed, moment) else OK
        rows.append(
            RoleStatus(
                role=role,
                version=signed.version,
                expires_utc=int(signed.expires.timestamp()),
                left_s=left_s,
                state=EXPIRED if left_s <= 0 else due,
                threshold=delegated.threshold,
                keyids=list(delegated.keyids),
                here=signers.root_names() if role == ROOT else [role] * (role in signers),
                remedy=_remedy(role),
            )
        )
    return rows


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


def _remedy(role: str) -> str:
    if role in ONLINE:
        return "run `pocketrec serve --keys` or, from cron, `pocketrec refresh`"
    key = f"{THRESHOLD} keys of root" if role == ROOT else f"the key of {role}"
    return f"bring {key} beside snapshot and timestamp, and run `pocketrec refresh`"


def _can_sign(found: State, role: str, signers: Signers) -> bool:
    if role == ROOT:
        return len(signers.root_names()) >= THRESHOLD
    if role not in signers:
        return False
    if role not in (SNAPSHOT, TIMESTAMP):  # without these two nothing is signed, so they may raise
        try:
            found.signer(role, signers)
        except PocketRecError as err:  # an old key beside good ones must not let these expire
            _LOG.warning("%s is not signed again: %s", role, err)
            return False
    return True
