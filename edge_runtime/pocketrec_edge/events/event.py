"""Events, and their rows in the log, encrypted if the app has a key."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from pocketrec_edge.answers import Answer
from pocketrec_edge.events.cipher import Cipher, seal, unseal

INTERACTION, IMPRESSION = "interaction", "impression"
Row = tuple[str, str, int, str, str, float | None, str, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An interaction or impression.

    Attributes:
        id: random UUID, made on the device.
        kind: interaction or impression.
        item_id: the item.
        event: the event type.
        value: number of the event, such as a rating, or None.
        ts: time of the event, unix seconds.
        context: further fields, such as the place in the slate.
    """

    id: str
    kind: str
    item_id: str
    event: str
    value: float | None
    ts: int
    context: dict[str, Any]


def shown_events(answer: Answer, now_utc: int) -> list[Event]:
    """Return the impressions of an answer's items.

    Args:
        answer: the result of `Device.recommend`.
        now_utc: unix seconds.
    """
    paged = {} if answer.page is None else {"session": answer.session, "page": answer.page}
    return [
        Event(
            id=str(uuid.uuid4()),
            kind=IMPRESSION,
            item_id=item.item_id,
            event="shown",
            value=None,
            ts=now_utc,
            context={
                "place": place,
                "score": item.score,
                "source": answer.source,
                "propensity": item.propensity,
                **({"sponsored": item.sponsored.campaign} if item.sponsored else {}),
                **paged,
            },
        )
        for place, item in enumerate(answer.items, 1)
    ]


def encode(event: Event, cipher: Cipher | None) -> Row:
    """Return the row of an event: id, kind, ts, item_id, event, value, context, sealed.

    Raises:
        UnreadableError: the cipher failed.
    """
    key = event.id, event.kind, event.ts
    if cipher is None:
        return *key, event.item_id, event.event, event.value, json.dumps(event.context), None
    content = event.item_id, event.event, event.value, event.context
    return *key, "", "", None, "", seal(cipher, content)


def decode(row: Row, cipher: Cipher | None) -> Event:
    """Build the event of a row.

    Raises:
        UnreadableError: the row is encrypted, and the cipher is missing or has another key.
    """
    event_id, kind, ts, item_id, event, value, context, sealed = row
    if sealed is None:
        content = item_id, event, value, json.loads(context)
    else:
        content = unseal(cipher, sealed)
    names = ("item_id", "event", "value", "context")
    return Event(id=event_id, kind=kind, ts=ts, **dict(zip(names, content, strict=True)))
