"""Renew metadata before it expires, by `pocketrec refresh` or by the server's renewal thread.

Metadata is due at half of its lifetime. The other half is the margin for a server that is down, or
a cron job that fails unnoticed.
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
class RenewalReport:
    """Result of a renewal.

    Attributes:
        signed: roles that were signed.
        due: roles that are due, but whose key is not available.
    """

    signed: list[str]
    due: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleStatus:
    """Status of one role.

    Attributes:
        role: name of the role.
        version: version of its metadata.
        expires_utc: time at which the metadata expires, unix seconds.
        left_s: seconds until then; negative after it.
        state: OK, DUE or EXPIRED.
        threshold: number of keys that have to sign.
        keyids: ids of the role's keys.
        here: names of its keys in the given folders.
        remedy: what to do before it expires.
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
    """Return whether less than half of a role's lifetime is left."""
    return signed.expires - (now or datetime.now(UTC)) < lifetime(role) / 2


def refresh(
    repo: Path, signers: Signers, *, everything: bool = False, now: datetime | None = None
) -> RenewalReport:
    """Renew the metadata of all roles that are due and whose keys are available.

    Args:
        repo: folder of the repository.
        signers: the available signers; snapshot and timestamp are required.
        everything: renew all roles with available keys, due or not.
        now: current time.

    Raises:
        KeysInvalidError: the key of snapshot or timestamp is missing, or a key cannot be opened.
        RepositoryInvalidError: nothing is published, or the repository is damaged or being written.
    """
    with state.writing(repo):
        current = state.load(repo)
        due = {role for role, signed in current.signed().items() if is_due(role, signed, now)}
        able = [
            role
            for role in current.signed()
            if (everything or role in due) and _can_sign(current, role, signers)
        ]
        if ROOT in able:
            current.next_root()
        current.changed.update(able)
        signed = current.write(repo, signers, now) if able else []
        return RenewalReport(signed=signed, due=sorted(due - set(able)))


def status(repo: Path, signers: Signers, now: datetime | None = None) -> list[RoleStatus]:
    """Return the status of each role.

    Raises:
        RepositoryInvalidError: nothing is published, or the repository is damaged.
    """
    moment = now or datetime.now(UTC)
    current = state.load(repo)
    rows = []
    for role, signed in current.signed().items():
        by = current.root if role in TOP_LEVEL else current.targets[TARGETS]
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
    """Start a thread that renews metadata periodically. Failures are logged and retried.

    Args:
        repo: folder of the repository; may still be empty.
        signers: signers of the online roles.
        stop: event that ends the thread.
        every_s: seconds between two renewals.
    """

    def run() -> None:
        while True:
            try:
                if state.exists(repo):
                    renewed = refresh(repo, signers)
                    for role in renewed.signed:
                        _LOG.info("signed %s again", role)
                    for role in renewed.due:
                        _LOG.warning("%s expires soon; its key is not on this server", role)
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
    return f"run `pocketrec refresh` with {key}, snapshot and timestamp"


def _can_sign(current: State, role: str, signers: Signers) -> bool:
    if role == ROOT:
        return len(signers.root_names()) >= THRESHOLD
    if role not in signers:
        return False
    if role not in (SNAPSHOT, TIMESTAMP):  # without these nothing can be signed: let them raise
        try:
            current.signer(role, signers)
        except PocketRecError as err:  # a wrong key must not prevent the renewal of other roles
            _LOG.warning("%s is not signed again: %s", role, err)
            return False
    return True
