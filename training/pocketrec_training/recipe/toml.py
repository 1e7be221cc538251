"""Write a recipe as TOML, to commit beside the others; `load_recipe` reads it back equal."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

from pocketrec_training.recipe.schema import Recipe


def recipe_toml(recipe: Recipe, comment: str) -> str:
    """Return a recipe as TOML text, every key spelt out, `comment` as its first lines."""
    lines = [f"# {line}" for line in comment.splitlines()]
    sections: list[str] = []
    for entry in fields(recipe):
        value = getattr(recipe, entry.name)
        if is_dataclass(value):
            sections += ["", f"[{entry.name}]", *_keys(value)]
        else:
            lines.append(f"{entry.name} = {_value(value)}")
    return "\n".join([*lines, *sections]) + "\n"


def _keys(section: Any) -> list[str]:
    values = ((entry.name, getattr(section, entry.name)) for entry in fields(section))
    return [f"{name} = {_value(value)}" for name, value in values if value is not None]


def _value(value: Any) -> str:
    """One TOML value; TOML knows no null, so a None inside a table is left out."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's; DEL alone has to be escaped here and not there.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple() | list():
            return "[" + ", ".join(_value(v) for v in value) + "]"
        case dict():
            return _inline({_value(k): v for k, v in value.items()})
        case _:
            return _inline({entry.name: getattr(value, entry.name) for entry in fields(value)})


def _inline(table: dict[str, Any]) -> str:
    parts = [f"{key} = {_value(v)}" for key, v in table.items() if v is not None]
    return "{ " + ", ".join(parts) + " }" if parts else "{}"
