"""Checks of settings that concern more than one key, or that train but give no useful release."""

import difflib
from itertools import pairwise
from typing import get_args

from pocketrec_bundle.declared import problems
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER, shown
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.bounds import MAX_NAME
from pocketrec_training.recipe.schema import Recipe, RerankConfig, TargetName


def check_together(recipe: Recipe, where: str) -> None:
    """Check what one field alone cannot show."""
    data, ranker, events, split = recipe.data, recipe.ranker, recipe.events, recipe.split
    if bool(data.dataset) == bool(data.interactions):
        raise RecipeInvalidError(f"{where}: data: set either dataset or interactions (with items)")
    if recipe.columns.timestamp_format and recipe.columns.timestamp_unit != "auto":
        raise RecipeInvalidError(
            f"{where}: columns.timestamp_unit is of numbers and columns.timestamp_format of texts. "
            "Set one of them."
        )
    _check_given(recipe, where)
    _check_features(recipe, where)
    if not recipe.columns.timestamp and split.kind not in ("random", "given"):
        raise RecipeInvalidError(
            f'{where}: columns.timestamp is empty, but split.kind = "{split.kind}" needs times. '
            'Set split.kind = "random" or "given", or name the column of times.'
        )
    if split.kind == "random" and not (split.valid_share and split.test_share):
        raise RecipeInvalidError(
            f'{where}: split.kind = "random" needs split.valid_share and split.test_share above 0'
        )
    lists: dict[str, tuple[object, ...]] = {
        "events.types": events.types,
        "ranker.heads": ranker.heads,
        "ranker.popularity_days": ranker.popularity_days,
    }
    for key, values in lists.items():
        twice = next((one for at, one in enumerate(values) if one in values[:at]), None)
        if twice is not None:
            raise RecipeInvalidError(f"{where}: {key}: {twice!r} occurs twice. Remove one.")
    if len(ranker.heads) != len(ranker.head_weights):
        raise RecipeInvalidError(
            f"{where}: ranker.head_weights: {len(ranker.head_weights)} weights for "
            f"{len(ranker.heads)} heads"
        )
    if events.default not in events.types:
        raise RecipeInvalidError(
            f"{where}: events.default: {events.default!r} is not in events.types"
        )
    if events.like_value is not None and "like" not in events.types:
        raise RecipeInvalidError(f"{where}: events.like_value needs 'like' in events.types")
    _check_values(recipe, where)
    if recipe.retrieval.hard_negatives and recipe.retrieval.loss != "sampled":
        raise RecipeInvalidError(
            f"{where}: retrieval.hard_negatives needs retrieval.loss = 'sampled'"
        )
    if recipe.index.probes and recipe.index.recall:
        raise RecipeInvalidError(f"{where}: index: set either probes or recall")
    if recipe.retrieval.dim % recipe.retrieval.heads:
        raise RecipeInvalidError(f"{where}: retrieval.dim must be a multiple of retrieval.heads")
    fitted = {
        "ranker.popularity_days": ranker.popularity_days,
        "neighbours.per_item": recipe.neighbours.per_item,
        "ranker.blend": ranker.blend,
    }
    for key, value in fitted.items():
        if value and ranker.examples == "train":
            raise RecipeInvalidError(
                f"{where}: {key} needs ranker.examples = 'valid': it comes from the training "
                "events, so it would contain the answers"
            )
    near = ranker.neighbour_candidates if recipe.neighbours.per_item else 0
    own = ranker.own_candidates if recipe.rerank.repeats else 0
    if near + own > ranker.candidates:
        raise RecipeInvalidError(
            f"{where}: ranker.neighbour_candidates + ranker.own_candidates ({near} + {own} in use) "
            f"must not exceed ranker.candidates ({ranker.candidates})"
        )
    if split.kind == "global_time" and not split.valid_share:
        raise RecipeInvalidError(
            f"{where}: split.valid_share: 0 leaves no event to choose epochs by and none for the "
            "ranker to learn from. Set it above 0, e.g. 0.1; split.test_share may be 0."
        )
    if split.valid_share + split.test_share >= 1:
        raise RecipeInvalidError(f"{where}: split: valid_share + test_share must stay below 1")
    if recipe.rerank.slate > ranker.candidates:
        raise RecipeInvalidError(f"{where}: rerank.slate must not exceed ranker.candidates")
    if (recipe.columns.regions or recipe.columns.age_rating) and recipe.export.format_version == 1:
        raise RecipeInvalidError(
            f"{where}: columns.regions, columns.age_rating: export.format_version = 1 has neither"
        )
    _check_rules(recipe.rerank, recipe.export.format_version, where)


def _check_values(recipe: Recipe, where: str) -> None:
    """Check that `[events.NAME]` names event types, and that only amounts have a currency."""
    types = recipe.events.types
    for name, meaning in recipe.events.values.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise RecipeInvalidError(
                f"{where}: events.{name}: events.types has no {name!r}, only {', '.join(types)}."
                f"{hint}"
            )
        if meaning.currency and meaning.value != "amount":
            raise RecipeInvalidError(
                f"{where}: events.{name}.currency: only amounts have a currency, and value is "
                f'"{meaning.value}". Remove currency, or set value = "amount".'
            )


def has_likes(recipe: Recipe) -> bool:
    """Whether an event can be a like: by its value, by its own column, or all of them."""
    events = recipe.events
    made = events.like_value is not None or recipe.columns.event or events.default == "like"
    return "like" in events.types and bool(made)


def check_useful(recipe: Recipe, where: str) -> None:
    """Refuse values that train but give no useful release."""
    weights = recipe.ranker.head_weights
    if not 1 <= len(recipe.name) <= MAX_NAME or not recipe.name.isprintable():
        raise RecipeInvalidError(
            f"{where}: name: must have 1 to {MAX_NAME} printable characters on one line (found "
            f"{shown(recipe.name)})"
        )
    if "" in recipe.events.types:
        raise RecipeInvalidError(f"{where}: events.types: an event type must not be empty")
    if not all(0 <= weight <= MAX_NUMBER for weight in weights) or not any(weights):
        raise RecipeInvalidError(
            f"{where}: ranker.head_weights: each weight must be at least 0 (at most "
            f"{MAX_NUMBER:g}) and one above 0, because they weigh the loss and the final score "
            f"(found {list(weights)})"
        )
    if not recipe.export.variants:
        raise RecipeInvalidError(f"{where}: export.variants: name at least one, e.g. ['fp32']")
    if not recipe.export.targets:
        raise RecipeInvalidError(
            f"{where}: export.targets: name at least one of {', '.join(get_args(TargetName))}, or "
            "leave the key out for all of them"
        )


def check_heads(recipe: Recipe, where: str) -> None:
    """Refuse a head that no event of the recipe could ever be an example of."""
    types, ranker = recipe.events.types, recipe.ranker
    if recipe.objectives or "like" not in ranker.heads or has_likes(recipe):
        return
    kept = [(h, w) for h, w in zip(ranker.heads, ranker.head_weights, strict=True) if h != "like"]
    mend = (
        f"ranker.heads = {[head for head, _ in kept]} and "
        f"ranker.head_weights = {[weight for _, weight in kept]}"
        if kept
        else 'ranker.heads = ["engage"] and ranker.head_weights = [1.0]'
    )
    raise RecipeInvalidError(
        f"{where}: ranker.heads: head 'like' has no event to learn from: events.types has "
        f"{', '.join(map(repr, types))}, and neither events.like_value nor columns.event can make "
        f"a like. Set {mend}; or bring likes (events.types, with events.like_value or "
        "columns.event)."
    )


def _check_given(recipe: Recipe, where: str) -> None:
    """Check the keys of a split that somebody else made."""
    split = recipe.split
    if split.kind != "given":
        for key in ("column", "valid", "test"):
            if getattr(split, key):
                raise RecipeInvalidError(
                    f'{where}: split.{key} needs split.kind = "given" (it is "{split.kind}")'
                )
        return
    if recipe.data.dataset:
        raise RecipeInvalidError(
            f'{where}: split.kind = "given" needs files of your own (data.interactions)'
        )
    if bool(split.column) == bool(split.test):
        raise RecipeInvalidError(
            f'{where}: split.kind = "given" needs split.column, the column that says train, valid '
            "or test, or split.test, the file of test interactions"
        )
    if split.column and split.valid:
        raise RecipeInvalidError(f"{where}: split.valid is a file and needs split.test, not column")


def _check_features(recipe: Recipe, where: str) -> None:
    """Check the declared features, and that their table can be there."""
    table = recipe.features.items
    lines = [
        f"{where}: {f'features.items.{key}'.removesuffix('.')}: {sentence}"
        for key, sentence in problems(table)
    ]
    if lines:
        raise RecipeInvalidError("\n".join(lines))
    if table and not recipe.data.dataset and not recipe.data.items:
        raise RecipeInvalidError(
            f"{where}: features.items needs the table of items. Set data.items."
        )


def _check_rules(rerank: RerankConfig, format_version: int, where: str) -> None:
    chosen = {
        "diversity": rerank.diversity != "none",
        "category_calibration": rerank.category_calibration > 0,
        "popularity_calibration": rerank.popularity_calibration > 0,
    }
    if sum(chosen.values()) > 1:
        names = ", ".join(f"rerank.{name}" for name, is_on in chosen.items() if is_on)
        raise RecipeInvalidError(
            f"{where}: {names}: each selects the complete slate; set one of them"
        )
    if any(one >= two for one, two in pairwise(rerank.sponsored_places)):
        raise RecipeInvalidError(f"{where}: rerank.sponsored_places must be increasing")
    rising = all(one < two for one, two in pairwise(rerank.price_bounds))
    banded = {"rerank.price_cap": rerank.price_cap > 0}
    banded["rerank.explore_by = 'price'"] = rerank.explore_by == "price"
    for key, is_on in banded.items():
        if is_on and (not rerank.price_bounds or not rising):
            raise RecipeInvalidError(f"{where}: {key} needs rerank.price_bounds, increasing")
    others = (*rerank.sponsored_places, rerank.floor, rerank.freshness, rerank.price_cap)
    more = (
        *others,
        rerank.explore,
        rerank.near_duplicate_titles,
        rerank.category_cap_place,
        *chosen.values(),
    )
    if any(more) and format_version == 1:
        raise RecipeInvalidError(
            f"{where}: export.format_version = 1 has no rules but rerank.category_cap and "
            "rerank.near_duplicate_cosine"
        )
