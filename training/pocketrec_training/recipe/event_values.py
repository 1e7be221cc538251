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
