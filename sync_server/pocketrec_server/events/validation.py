"""Validate uploaded events one by one, and give a reason for each rejection."""

import json
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number
from pocketrec_bundle.items.catalogue import MAX_ID
from pocketrec_bundle.units import DAY_S
from pocketrec_server.events.export_tables import REQUEST_ID, are_arms

KINDS = ("interaction", "impression", "request", "exposure")
_WITHOUT_ITEM = ("request", "exposure")
MAX_CONTEXT = 4096
MAX_ARM = 64
"""Characters of an arm's name and of the salt in an exposure."""
_TEXTS = {"id": 64, "item_id": MAX_ID, "event": 64}
_KEYS = {*_TEXTS, "kind", "ts", "value", "context"}
_MAX_TS = 1 << 40
_MAX_VALUE = 1e300


def checked(events: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split a batch into rows of the table `event` (without the install) and rejections.

    A rejection has the event's place (from 0), its id (if valid) and a reason. There are few
    different reasons, so they can be counted.
    """
    rows: dict[str, dict[str, Any]] = {}
    rejected = []
    for place, event in enumerate(events):
        reason = _why_bad(event)
        if not reason and event["id"] in rows:
            reason = "duplicate id in the batch"
        if reason:
            name = event.get("id") if isinstance(event, dict) else None
            known = name if isinstance(name, str) and len(name) <= _TEXTS["id"] else str(place)
            rejected.append({"place": place, "id": known, "reason": reason})
            continue
        value = event.get("value")
        rows[event["id"]] = {
            **{key: event[key] for key in ("id", "kind", "item_id", "event", "ts")},
            "value": None if value is None else float(value),
            "context": json.dumps(event.get("context") or {}, separators=(",", ":")),
        }
    return list(rows.values()), rejected


def day_of(ts: int) -> int:
    """Return the day (UTC) of an instant, counted from 1970-01-01."""
    return ts // DAY_S


def _why_bad(event: Any) -> str:
    if not isinstance(event, dict):
        return "not an object"
    if not event.keys() <= _KEYS:
        return f"has keys other than {', '.join(sorted(_KEYS))}"
    kind = event.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return f"kind must be one of {', '.join(KINDS)}"
    for key, limit in _TEXTS.items():
        value = event.get(key)
        if key == "item_id" and kind in _WITHOUT_ITEM:
            if value != "":
                return f"item_id must be an empty text for kind {kind}"
        elif not isinstance(value, str) or not 0 < len(value) <= limit or "\0" in value:
            return f"{key} must be a text of 1..{limit} characters"
    if not is_integer(event.get("ts"), 0, _MAX_TS):
        return "ts must be unix seconds"
    value = event.get("value")
    if value is not None and not is_number(value, -_MAX_VALUE, _MAX_VALUE):
        return "value must be a finite number or null"
    context = event.get("context") or {}
    if not isinstance(context, dict) or len(json.dumps(context)) > MAX_CONTEXT:
        return f"context must be an object of at most {MAX_CONTEXT} bytes"
    return _why_bad_form(event, context)


def _why_bad_form(event: dict[str, Any], context: dict[str, Any]) -> str:
    """Check what the analysis relies on: the ids of requests, and the arms of experiments."""
    if event["kind"] == "request":
        if not REQUEST_ID.fullmatch(event["id"]):
            return "id of a request must be 8..58 letters, digits, - or _"
        if "arms" in context and not are_arms(context["arms"]):
            return "arms must be an object of texts by experiment"
    if event["kind"] == "exposure":
        for name in ("arm", "salt"):
            if not isinstance(context.get(name), str) or not 0 < len(context[name]) <= MAX_ARM:
                return f"{name} of an exposure must be a text of 1..{MAX_ARM} characters"
        if not isinstance(context.get("forced", False), bool):
            return "forced of an exposure must be true or false"
    return ""
