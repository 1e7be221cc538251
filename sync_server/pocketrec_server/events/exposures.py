"""Note which devices were exposed to which arm, and from which network they reported it.

Guardrails compare these devices, and count networks: an install id is free, a network is not
(docs/decisions/0019). No address is stored. A network is a keyed hash: HMAC-SHA256 cut to 128 bits,
with another key for each experiment and salt. So rows of two experiments cannot be linked by their
networks. The rows are deleted when the experiment has ended, see `forget_others`.
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
from pocketrec_server.storage.tables import EXPOSED, SETTING

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
    if not found:
        return
    key = bytes.fromhex(
        connection.scalars(select(SETTING.c.value).where(SETTING.c.name == "salt")).one()
    )
    for subject, values in sorted(found.items()):
        tag = hmac.new(key, f"exposed {subject} {network}".encode(), hashlib.sha256)
        insert = dialect_of(connection).insert(EXPOSED).on_conflict_do_nothing()
        row = {"install": install, "subject": subject, "network": tag.hexdigest()[:32], **values}
        connection.execute(insert.values(**row))
        if values["forced"]:
            of_row = (EXPOSED.c.install == install, EXPOSED.c.subject == subject)
            connection.execute(update(EXPOSED).where(*of_row).values(forced=1))


def forget_others(connection: Connection, subjects: Collection[str]) -> None:
    """Delete the exposures of all subjects but these."""
    connection.execute(delete(EXPOSED).where(EXPOSED.c.subject.not_in(list(subjects))))
