"""Checks of objectives and of the formula, and the heads that they make."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from difflib import get_close_matches

from pocketrec_bundle.encoding.strict_json import MAX_NUMBER, matches
from pocketrec_bundle.features import LENGTHS, NUMERIC
from pocketrec_bundle.objectives import FormulaError, parse
from pocketrec_bundle.objectives.formula import Node
from pocketrec_bundle.objectives.formula_text import FUNCTIONS
from pocketrec_bundle.objectives.heads import OBJECTIVE
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.objective import Objective
from pocketrec_training.recipe.schema import Recipe

USUAL_HEADS = ("engage", "like")
"""Heads of a recipe without objectives."""


def with_objectives(recipe: Recipe, chosen: Collection[str], where: str) -> Recipe:
    """Return a recipe whose heads and head weights are those of its objectives, if it has any.

    Args:
        recipe: as parsed.
        chosen: keys of "heads" and "head_weights" that its file has.
        where: file of the recipe.

    Raises:
        RecipeInvalidError: the file names other heads as well.
    """
    if not recipe.objectives:
        return recipe
    heads = tuple(one.name for one in recipe.objectives)
    weights = tuple(one.weight for one in recipe.objectives)
    own = recipe.ranker.heads, recipe.ranker.head_weights
    # The recipe of a run has both, and they agree.
    if chosen and own != (heads, weights):
        keys = " and ".join(f"ranker.{key}" for key in sorted(chosen, reverse=True))
        raise RecipeInvalidError(
            f"{where}: {keys}: [[objectives]] name the heads and their weights. Remove {keys}."
        )
    return replace(recipe, ranker=replace(recipe.ranker, heads=heads, head_weights=weights))


def check_objectives(recipe: Recipe, where: str) -> None:
    """Check what is known without the tables.

    Raises:
        RecipeInvalidError: one line for each problem.
    """
    lines = []
    if not recipe.objectives:
        lines = [
            f"ranker.heads: no head {head!r} without [[objectives]], only "
            f"{' and '.join(USUAL_HEADS)}. Declare it as an objective."
            for head in recipe.ranker.heads
            if head not in USUAL_HEADS
        ]
    counts = Counter(one.name for one in recipe.objectives)
    lines += [
        f"objectives: two have the name {name!r}. Rename one."
        for name, n in counts.items()
        if n > 1
    ]
    if len(recipe.objectives) > LENGTHS["heads"][1]:
        lines.append(f"objectives: at most {LENGTHS['heads'][1]} are allowed")
    for one in recipe.objectives:
        lines += [f"objectives.{one.name}: {problem}" for problem in _problems(one, recipe)]
    if lines:
        raise RecipeInvalidError("\n".join(f"{where}: {line}" for line in lines))
    try:
        formula_of(recipe)
    except FormulaError as err:
        raise RecipeInvalidError(f"{where}: ranker.formula: {err}") from err


def formula_of(recipe: Recipe) -> Node | None:
    """Return the tree of the recipe's formula; None without one.

    Raises:
        FormulaError: it is not a formula of the recipe's heads and numeric columns.
    """
    text = recipe.ranker.formula
    return parse(text, recipe.ranker.heads, numeric_names(recipe)) if text else None


def numeric_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the numeric item columns of the recipe's releases, in the order of the models."""
    declared = (name for name, one in recipe.features.items.items() if one.ranker)
    days = (f"popularity_{n}_days" for n in recipe.ranker.popularity_days)
    return (*NUMERIC, *days, *declared)


def _problems(one: Objective, recipe: Recipe) -> Iterator[str]:
    types, values = recipe.events.types, recipe.events.values
    if not matches(OBJECTIVE, one.name) or one.name in FUNCTIONS:
        yield (
            "a name has 1 to 40 of a-z, 0-9 and _, begins with a letter, and is not a function of "
            f"formulas ({', '.join(FUNCTIONS)})"
        )
    if one.name in numeric_names(recipe):
        yield "a numeric column has this name, and a formula could mean both. Rename the objective."
    for name in one.events:
        if name not in types:
            near = get_close_matches(name, types, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            yield f"events: events.types has no {name!r}, only {', '.join(types)}.{hint}"
    if len(set(one.events)) < len(one.events):
        yield "events: one stands twice"
    if one.weight > MAX_NUMBER:
        yield f"weight: at most {MAX_NUMBER:g}"
    if one.kind != "value" and one.winsor != 0.99:
        yield f'winsor: only of kind = "value" (it is "{one.kind}"). Remove it.'
    if one.of and one.kind != "share":
        yield f'of: only of kind = "share" (it is "{one.kind}"). Remove it.'
    if one.of and one.of not in ("price", "year", *_numbers(recipe)):
        known = ", ".join(("price", *_numbers(recipe)))
        yield f"of: no numeric column {one.of!r}; there are {known}. Declare it in features.items."
    if one.kind == "binary":
        return
    if not recipe.columns.value and not recipe.data.dataset:
        yield (
            f'kind = "{one.kind}" needs values, and columns.value is empty. Set it to the column '
            'of the interactions that has them, or set kind = "binary".'
        )
    meanings = {values[name].value for name in one.events if name in values}
    if one.kind == "value" and meanings & {"rating", "share"}:
        yield "ratings and shares do not add up, so they are not a value. Choose other events."
    units = {
        f"{values[name].value} {values[name].currency}" for name in one.events if name in values
    }
    if one.kind == "value" and len(units) > 1:
        yield f"its events have values in different units: {', '.join(sorted(units))}"
    if one.kind == "share" and not one.of and meanings - {"share"}:
        yield (
            f"a share is between 0 and 1, and its events have {', '.join(sorted(meanings))}. Set "
            "of to the column that they are a share of, such as a duration."
        )


def _numbers(recipe: Recipe) -> tuple[str, ...]:
    """Return the declared features that are numbers."""
    return tuple(n for n, one in recipe.features.items.items() if one.kind == "number")
