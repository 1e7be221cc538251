"""Reads a recipe: the one place where untrusted TOML becomes a `Recipe`."""

import difflib
import json
import math
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.checks import check_heads, check_together, check_useful, has_likes
from pocketrec_training.recipe.event_values import with_event_values
from pocketrec_training.recipe.objective_checks import check_objectives, with_objectives
from pocketrec_training.recipe.renamed_keys import rename_keys
from pocketrec_training.recipe.schema import Recipe, uses_time, without_order

_ONE_VALUE = ("string_type", "literal_error", "float_type", "int_type", "bool_type")
"""Errors of a list where one value is needed."""


def load_recipe(path: Path, *, warn: Callable[[str], None] | None = None) -> Recipe:
    """Read and check a recipe, from TOML or from the `recipe.json` of a run.

    Args:
        path: the file; a name that ends in .json is read as the recipe of a run.
        warn: receives a text for each key with an old name; None: Python's `warnings`. The recipe
            of a run gives no warning, because its user did not write it.

    Raises:
        RecipeInvalidError: the file cannot be read or parsed; a key is unknown, has the wrong type
            or is out of bounds. TOML only, because such runs exist: a value that cannot give a
            useful release.

    Example:
        >>> recipe = load_recipe(Path("shop.toml"))
        >>> recipe.name, recipe.columns.title, recipe.events.like_value
        ('shop', 'title', 4.0)
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise RecipeInvalidError(f"{path}: cannot be read ({err})") from err
    try:
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise RecipeInvalidError(f"{path}: {err}") from err
    if path.suffix == ".json":
        warn = _ignore
    recipe = parse_recipe(value, str(path), warn=warn)
    if path.suffix != ".json":
        check_useful(recipe, str(path))
        check_heads(recipe, str(path))
    return recipe


def parse_recipe(value: object, where: str, *, warn: Callable[[str], None] | None = None) -> Recipe:
    """Check a parsed recipe.

    A recipe without `ranker.heads` gets the heads that its events can train: "like" needs likes.
    Without times, the settings that use them or the order of events are off (`without_order`).

    Args:
        value: the parsed TOML or JSON.
        where: file of the recipe; messages begin with it.
        warn: as for `load_recipe`.

    Raises:
        RecipeInvalidError: as for `load_recipe`.
    """
    if problems := _not_finite(value):
        raise RecipeInvalidError("\n".join(f"{where}: {problem}" for problem in problems))
    if isinstance(value, dict):
        value, texts = rename_keys(value, where)
        for text in texts:
            (warn or _warn)(text)
        value = with_event_values(value)
    try:
        recipe = _adapter().validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as err:
        found = _of_one_form([dict(each) for each in err.errors()])
        lines = [f"{where}: {_explain(each)}" for each in found]
        raise RecipeInvalidError("\n".join(lines)) from err
    assert isinstance(value, dict)
    chosen = value.get("ranker", {}).keys() & {"heads", "head_weights"}
    if not chosen and not recipe.objectives and not has_likes(recipe):
        recipe = replace(
            recipe, ranker=replace(recipe.ranker, heads=("engage",), head_weights=(1.0,))
        )
    recipe = with_objectives(recipe, chosen, where)
    if not uses_time(recipe):
        recipe = without_order(recipe)
    check_objectives(recipe, where)
    check_together(recipe, where)
    return recipe


def recipe_json(recipe: Recipe) -> bytes:
    """Encode a recipe as indented JSON, for `RUN/recipe.json`."""
    return _adapter().dump_json(recipe, indent=2)


@cache
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)  # built once: it takes as long as reading a small table


def _warn(text: str) -> None:
    warnings.warn(text, FutureWarning, stacklevel=3)


def _ignore(text: str) -> None:
    """Drop a warning."""


def _not_finite(value: object) -> list[str]:
    """Name each number that JSON cannot hold: inf, nan, or an integer beyond TOML's 64 bits."""
    problems: list[str] = []
    rest: list[tuple[str, object]] = [("", value)]
    while rest:
        key, found = rest.pop()
        if isinstance(found, dict):
            rest += [(f"{key}.{name}".removeprefix("."), one) for name, one in found.items()]
        elif isinstance(found, list):
            rest += [(f"{key}.{place}", one) for place, one in enumerate(found)]
        elif isinstance(found, float) and not math.isfinite(found):
            problems.append(f"{key}: must be a finite number (found {found})")
        elif isinstance(found, int) and found.bit_length() > 63:
            problems.append(f"{key}: must fit 64 bits (found {found.bit_length()} bits)")
    return sorted(problems)


def _of_one_form(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the errors of the form that was meant, if a key may be a text or a table."""
    kept = []
    for error in errors:
        loc = error["loc"]
        forms = [at for at, part in enumerate(loc) if part in ("str", "TableFile")]
        if not forms:
            kept.append(error)
            continue
        inner = len(loc) > forms[0] + 1 or isinstance(error["input"], dict)
        if inner == (loc[forms[0]] == "TableFile"):
            kept.append(error | {"loc": loc[: forms[0]] + loc[forms[0] + 1 :]})
    return kept


def _explain(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *parents, key = [str(part) for part in error["loc"]]
        close = difflib.get_close_matches(key, _keys(parents), n=1)
        hint = f", did you mean '{close[0]}'?" if close else f"; known: {', '.join(_keys(parents))}"
        return f"{place}: unknown key{hint}"
    found = error["input"]
    if error["type"] in _ONE_VALUE and isinstance(found, list) and len(found) > 1:
        # `pocketrec init` writes the values that a person has to choose from.
        return f"{place}: choose one of {', '.join(map(repr, found))}"
    return f"{place}: {error['msg']} (found {found!r})"


def _keys(parents: list[str]) -> list[str]:
    kind: Any = Recipe
    for parent in parents:
        if parent.isdigit():  # a place in a list of tables
            continue
        if get_origin(kind) is dict:  # any key, each with a value of one type
            kind = get_args(kind)[1]
            continue
        kind = next((f.type for f in fields(kind) if f.name == parent), None)
        if get_origin(kind) is dict:
            continue
        kind = next(filter(is_dataclass, get_args(kind)), kind)  # a text or a table
        if not is_dataclass(kind):
            return []
    return [f.name for f in fields(kind)]
