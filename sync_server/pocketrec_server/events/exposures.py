"""Note which devices guardrails compare, and from which network they reported.

Of an experiment: devices that were exposed to an arm, and devices that send sums in place of
events. Of a rollout: devices that uploaded since a
stage of it began (docs/decisions/0034). Guardrails count networks: an install id is free, a network
is not (docs/decisions/0019). No address is stored. A network is a keyed hash: HMAC-SHA256 cut to
128 bits, with another key for each subject. So rows of two subjects cannot be linked by their
networks. The rows are deleted when the experiment or the stage has ended, see `forget_others`.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, select, update

from pocketrec_bundle.encoding.strict_json import matches
from pocketrec_bundle.settings.experiment import ID
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_server.storage.database import dialect_of
from pocketrec_server.storage.tables import EXPOSED, SETTING, SUMS_NETWORK

EXPOSURE = "exposure"
SALT_DIGITS = 8
"""Digits of an experiment's salt that devices report."""
_SALT = re.compile(r"[0-9a-f]{1,8}")


def subject_of(experiment: str, salt: str) -> str:
    """Return the subject of an experiment's exposures, as the table has it."""
    return f"{experiment} {salt[:SALT_DIGITS]}"


def note(
    connection: Connection, install: int, rows: Iterable[Mapping[str, Any]], network: str
) -> None:
    """Note the first exposure of an install to each experiment, and whether one was forced.

    Args:
        connection: connection in a writing transaction.
        install: number of the install.
        rows: new rows of the table `event`.
        network: network of the client, as `network_of` returns it.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["kind"] != EXPOSURE or not matches(ID, row["event"]):
            continue
        context = json.loads(row["context"])
        if not matches(ARM, context["arm"]) or not matches(_SALT, context["salt"][:SALT_DIGITS]):
            continue
        subject = subject_of(row["event"], context["salt"])
        first = {"arm": context["arm"], "exposed_utc": row["ts"], "forced": 0}
        found.setdefault(subject, first)["forced"] |= int(context.get("forced", False))
    _add(connection, install, found, network)
    for subject, values in sorted(found.items()):
        if values["forced"]:
            of_row = (EXPOSED.c.install == install, EXPOSED.c.subject == subject)
            connection.execute(update(EXPOSED).where(*of_row).values(forced=1))


def note_upload(
    connection: Connection, install: int, subjects: Iterable[str], network: str, now_utc: int
) -> None:
    """Note the first upload of an install since each of some stages of rollouts began.

    Args:
        connection: connection in a writing transaction.
        install: number of the install.
        subjects: the stages, see `GuardedStage.subject`.
        network: network of the client, as `network_of` returns it.
        now_utc: unix seconds.
    """
    first = {"arm": "", "exposed_utc": now_utc, "forced": 0}
    _add(connection, install, dict.fromkeys(subjects, first), network)


def note_sums(connection: Connection, sums_id: str, subject: str, network: str) -> None:
    """Note the network that first sent some sums; their row has to exist.

    Args:
        connection: connection in a writing transaction.
        sums_id: id of the sums.
        subject: of the experiment.
        network: network of the client, as `network_of` returns it.
    """
    insert = dialect_of(connection).insert(SUMS_NETWORK).on_conflict_do_nothing()
    tag = network_tag(connection, subject, network)
    connection.execute(insert.values(id=sums_id, subject=subject, network=tag))


def network_tag(connection: Connection, subject: str, network: str) -> str:
    """Return the keyed hash of a network, 32 hex digits; each subject has a key of its own."""
    query = select(SETTING.c.value).where(SETTING.c.name == "salt")
    key = bytes.fromhex(connection.scalars(query).one())
    text = f"exposed {subject} {network}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]


def _add(
    connection: Connection, install: int, found: Mapping[str, Mapping[str, Any]], network: str
) -> None:
    """Add rows by subject; known ones stay."""
    for subject, values in sorted(found.items()):
        insert = dialect_of(connection).insert(EXPOSED).on_conflict_do_nothing()
        tag = network_tag(connection, subject, network)
        connection.execute(insert.values(install=install, subject=subject, network=tag, **values))


def forget_others(connection: Connection, subjects: Collection[str]) -> None:
    """Delete the networks of all subjects but these, with the devices that were noted."""
    kept = list(subjects)
    for table in (EXPOSED, SUMS_NETWORK):
        connection.execute(delete(table).where(table.c.subject.not_in(kept)))
