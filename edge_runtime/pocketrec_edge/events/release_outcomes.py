"""Outcomes of releases on this device, stored in one file and sent only with consent.

The server counts outcomes and halts a release that fails on too many devices. Each outcome has its
own random id, so duplicates count once. It identifies neither the device nor the install.
"""

import json
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.settings.rollout import SHA256
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private

INSTALLED, SELF_TEST_FAILED, REVERTED, DOWNLOAD_FAILED, APP_TOO_OLD = KINDS = (
    "installed",
    "self_test_failed",
    "reverted",
    "download_failed",
    "app_too_old",
)
"""APP_TOO_OLD is neither a success nor a failure of a release; older servers reject it."""
MAX_KEPT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a release.

    Attributes:
        id: random id of the outcome.
        manifest: manifest hash of the release.
        outcome: one of `KINDS`.
        ts: time of the outcome, unix seconds.
        done: it was sent, or is never sent.
    """

    id: str
    manifest: str
    outcome: str
    ts: int
    done: bool = False


def read(home: PhoneHome) -> list[Outcome]:
    """Return the stored outcomes, oldest first; nothing if the file cannot be read."""
    try:
        value = json.loads(home.outcomes.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [Outcome(**one) for one in value if _is_sound(one)] if isinstance(value, list) else []


def record(home: PhoneHome, manifest: str, outcome: str, now_utc: int) -> None:
    """Record an outcome; the same outcome of a release is recorded once.

    A failed write is ignored, because a lost outcome only changes a count.
    """
    kept = read(home)
    if any((one.manifest, one.outcome) == (manifest, outcome) for one in kept):
        return
    made = Outcome(id=uuid.uuid4().hex, manifest=manifest, outcome=outcome, ts=now_utc)
    _write(home, [*kept, made])


def pending(home: PhoneHome) -> list[Outcome]:
    """Return the outcomes that were not sent yet."""
    return [one for one in read(home) if not one.done]


def finish(home: PhoneHome, ids: Collection[str]) -> None:
    """Mark outcomes as sent, or as never to be sent because the user did not agree."""
    if ids:
        _write(home, [replace(one, done=one.done or one.id in ids) for one in read(home)])


def drop_pending(home: PhoneHome) -> None:
    """Mark all pending outcomes as never to be sent: they are older than the consent."""
    finish(home, [one.id for one in pending(home)])


def _write(home: PhoneHome, outcomes: list[Outcome]) -> None:
    data = canonical_json([asdict(one) for one in outcomes[-MAX_KEPT:]])
    with suppress(PocketRecError):
        write_private(home.outcomes, data)


def _is_sound(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == Outcome.__dataclass_fields__.keys()
        and isinstance(value["id"], str)
        and isinstance(value["manifest"], str)
        and SHA256.fullmatch(value["manifest"]) is not None
        and value["outcome"] in KINDS
        and is_integer(value["ts"], 0, MAX_UTC)
        and type(value["done"]) is bool
    )
