"""Tables `[events.NAME]` of a recipe: what the value of an event type means."""

from dataclasses import fields
from typing import Any

from pocketrec_training.recipe.tables import Events


def with_event_values(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a parsed recipe with each table `[events.NAME]` in `events.values`.

    A name that is also a key of `events`, such as "types", needs the longer form
    `[events.values.NAME]`, which `recipe.json` of a run has for all names.

    Args:
        recipe: the parsed TOML or JSON, not checked yet.
    """
    events = recipe.get("events")
    if not isinstance(events, dict):
        return recipe
    known = {field.name for field in fields(Events)}
    named = {
        name: table
        for name, table in events.items()
        if isinstance(table, dict) and name not in known
    }
    values = events.get("values", {})
    if not named or not isinstance(values, dict):
        return recipe
    rest = {name: value for name, value in events.items() if name not in named}
    return recipe | {"events": rest | {"values": values | named}}


def weights(events: Events) -> dict[str, tuple[str, ...]]:
    """Return event types whose values add up, by their unit: "amount", "amount GBP", "seconds".

    Ratings are left out: two of 3 are not worth one of 6. So are shares, and types without
    `[events.NAME]`, whose value may be a number of pieces.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, about in events.values.items():
        if about.value not in ("rating", "share") and name in events.types:
            unit = f"{about.value} {about.currency}".strip()
            found[unit] = (*found.get(unit, ()), name)
    return found


def has_weights(events: Events) -> bool:
    """Whether there is such a type."""
    return bool(weights(events))
