"""Events, and their rows in the log, encrypted if the app has a key."""

import json
from dataclasses import dataclass
from typing import Any

from pocketrec_edge.events.cipher import Cipher, seal, unseal

INTERACTION, IMPRESSION, REQUEST, EXPOSURE = "interaction", "impression", "request", "exposure"
Row = tuple[str, str, int, str, str, float | None, str, bytes | None]
_COMPACT = (",", ":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `slate_events.py` makes requests, impressions and exposures.

    Attributes:
        id: random id, made on the device; of an impression that of its request and its place.
        kind: interaction, impression, request or exposure.
        item_id: the item; "" for a request and an exposure.
        event: the event type; of a request its scene, of an exposure its experiment.
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


def encode(event: Event, cipher: Cipher | None) -> Row:
    """Return the row of an event: id, kind, ts, item_id, event, value, context, sealed.

    Raises:
        UnreadableError: the cipher failed.
    """
    key = event.id, event.kind, event.ts
    if cipher is None:
        context = json.dumps(event.context, separators=_COMPACT)
        return *key, event.item_id, event.event, event.value, context, None
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
