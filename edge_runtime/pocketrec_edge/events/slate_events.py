"""The events of one slate: its request, one impression for each item, and exposures to arms.

What all items of a slate share is in the request, so it is logged and uploaded once. An impression
names its request by its own id, `<request>.<place>`. `docs/device/privacy.md` lists all fields.
"""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from pocketrec_edge.answers import Answer
from pocketrec_edge.events.event import EXPOSURE, IMPRESSION, REQUEST, Event

SHOWN = "shown"
RELEASE_DIGITS = 16
"""Hex digits of the manifest's hash that a request names; 64 bits tell all releases apart."""
SALT_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The first time that an arm of an experiment mattered on this device.

    Attributes:
        experiment: id of the experiment.
        arm: name of the arm.
        salt: of the experiment, hex; its first 8 digits are logged.
        forced: a person chose the arm for testing; the analysis leaves such devices out.
        app_version: of the app, if it is known; the report has segments by it.
        device_class: as the publisher names classes, if it is known.
        again: it was logged before, and the server never got it.
    """

    experiment: str
    arm: str
    salt: str
    forced: bool = False
    app_version: str | None = None
    device_class: str | None = None
    again: bool = False


def new_request() -> str:
    """Return a random id of 128 bits, as 22 characters."""
    return secrets.token_urlsafe(16)


def slate_events(answer: Answer, now_utc: int, *, scene: str, release: str) -> list[Event]:
    """Return the request of a slate, then the impressions of its items.

    Args:
        answer: the slate; its `request` is set.
        now_utc: unix seconds.
        scene: where the slate stands, such as "home".
        release: hash of the manifest, hex; "" if no release is open.
    """
    assert answer.request is not None
    impressions = [
        Event(
            id=f"{answer.request}.{place}",
            kind=IMPRESSION,
            item_id=item.item_id,
            event=SHOWN,
            value=None,
            ts=now_utc,
            context={
                "place": place,
                "score": float(f"{item.score:.7g}"),  # float32 has no more digits
                "propensity": item.propensity,
                **({"sponsored": item.sponsored.campaign} if item.sponsored else {}),
                **({"team": item.team} if item.team else {}),
            },
        )
        for place, item in enumerate(answer.items, 1)
    ]
    request = Event(
        id=answer.request,
        kind=REQUEST,
        item_id="",
        event=scene,
        value=None,
        ts=now_utc,
        context=_facts(answer, release),
    )
    return [request, *impressions]


def exposure_event(exposure: Exposure, now_utc: int) -> Event:
    """Return the event of an exposure; now_utc: unix seconds."""
    more = {
        "forced": exposure.forced or None,
        "app_version": exposure.app_version,
        "device_class": exposure.device_class,
        "again": exposure.again or None,
    }
    context: dict[str, Any] = {"arm": exposure.arm, "salt": exposure.salt[:SALT_DIGITS]}
    return Event(
        id=uuid.uuid4().hex,
        kind=EXPOSURE,
        item_id="",
        event=exposure.experiment,
        value=None,
        ts=now_utc,
        context=context | {name: value for name, value in more.items() if value is not None},
    )


def _facts(answer: Answer, release: str) -> dict[str, Any]:
    """Return what the items of a slate share; without what is empty."""
    total_ms = answer.stage_ms.get("total")
    facts: dict[str, Any] = {
        "release": release[:RELEASE_DIGITS],
        "source": answer.source,
        "k": len(answer.items),
        "ms": None if total_ms is None else round(total_ms, 1),
        "page": answer.page,
        "paging": answer.session,
        "arms": answer.arms,
        "faults": [*dict.fromkeys(fault.code.value for fault in answer.faults)],
    }
    return {name: value for name, value in facts.items() if value not in (None, "", {}, [])}
