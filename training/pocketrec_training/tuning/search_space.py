"""Define the search space of `pocketrec tune`: the recipe keys and their ranges or choices."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, get_args, get_origin

from optuna.trial import Trial
from pydantic import TypeAdapter, ValidationError

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.load import parse_recipe, recipe_json
from pocketrec_training.recipe.schema import Recipe, RetrievalConfig, SearchRange, TuneConfig

SECTION = "retrieval"
# The objective is retrieval's NDCG@10, so it can compare only keys of retrieval. The tuner sets the
# time limit itself.
TUNABLE = {
    f"{SECTION}.{entry.name}": entry for entry in fields(RetrievalConfig) if entry.name != "minutes"
}


def check_space(space: Mapping[str, SearchRange], where: str) -> None:
    """Check each key, the kind of its range, and that each bound or choice is a valid value.

    Raises:
        RecipeInvalidError: a key or its range is wrong. The text begins with `where`.
    """
    if not space:
        raise RecipeInvalidError(
            f"{where}: tune.space is empty. Name what to search, such as "
            '"retrieval.dropout" = { low = 0.1, high = 0.5 }.'
        )
    for key, wanted in space.items():
        problem = _problem(key, wanted)
        if problem:
            raise RecipeInvalidError(f'{where}: tune.space."{key}": {problem}')


def suggest(trial: Trial, space: Mapping[str, SearchRange]) -> dict[str, Any]:
    """Sample a value for each key of a checked space."""
    return {key: _draw(trial, key, wanted) for key, wanted in space.items()}


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some keys set, checked as a whole.

    Raises:
        RecipeInvalidError: the values conflict, e.g. `dim` is not a multiple of `heads`.
    """
    plain = json.loads(recipe_json(replace(recipe, tune=TuneConfig())))
    for key, value in values.items():
        section, _, name = key.partition(".")
        plain[section][name] = value
    return replace(parse_recipe(plain, recipe.name), tune=recipe.tune)


def _draw(trial: Trial, key: str, wanted: SearchRange) -> Any:
    if wanted.choices:
        return trial.suggest_categorical(key, wanted.choices)
    assert wanted.low is not None
    assert wanted.high is not None
    if _kind(key) is int:
        step = int(wanted.step or 1)
        return trial.suggest_int(key, int(wanted.low), int(wanted.high), step=step, log=wanted.log)
    return trial.suggest_float(key, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def _kind(key: str) -> Any:
    kind = TUNABLE[key].type
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _problem(key: str, wanted: SearchRange) -> str:
    if key not in TUNABLE:
        close = difflib.get_close_matches(key, TUNABLE, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(TUNABLE)}"
        return f"cannot be searched; {hint}"
    ends = (wanted.low, wanted.high)
    if wanted.choices:
        if ends != (None, None) or wanted.log or wanted.step is not None:
            return "give either choices, or low and high"
        values: tuple[Any, ...] = wanted.choices
    elif wanted.low is None or wanted.high is None:
        return "give low and high, or choices"
    elif _kind(key) not in (int, float):
        return "not a number: give choices"
    elif not wanted.low < wanted.high:
        return f"low {wanted.low} must be below high {wanted.high}"
    elif wanted.log and (wanted.low <= 0 or wanted.step is not None):
        return "log needs low above 0 and no step"
    elif wanted.step is not None and wanted.step <= 0:
        return f"step {wanted.step} must be above 0"
    elif _kind(key) is int and any(isinstance(v, float) for v in (*ends, wanted.step)):
        return "takes whole numbers: low, high and step must be whole"
    else:
        values = ends
    for value in values:
        try:
            text = json.dumps({key.partition(".")[2]: value})
            TypeAdapter(RetrievalConfig).validate_json(text, strict=True)
        except ValidationError as err:
            return f"{value!r} is not a valid value: {err.errors()[0]['msg']}"
    return ""
