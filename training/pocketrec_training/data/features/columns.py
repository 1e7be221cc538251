"""The feature spec of a recipe, and the columns of the items that it names."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared.encoded import is_number_like
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import (
    BOUNDS,
    CONTEXT,
    MISSING,
    NEIGHBOUR_PAIR,
    NUMERIC,
    PAIR,
    REPEAT_PAIR,
    FeatureSpec,
)
from pocketrec_training.data.dataset import Dataset, Items
from pocketrec_training.data.features.declared import declared_items
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.schema import Recipe, uses_time

MAX_CATEGORIES = 8
"""Category slots of one item; further categories of an item are dropped, rarest first."""

OF_TIME = (
    *("hour", "weekday", "session_depth", "seconds_since_last", "seconds_since_first"),
    *("seconds_since_had", "recent_had", "last_cosine", "recent_taste", "neighbour_recent"),
)
"""Columns of the ranker that depend on times or on the order of events.

A release of data without times lacks them, so phones, whose events have times, compute the same.
"""


def feature_spec(recipe: Recipe, items: Items) -> FeatureSpec:
    """Derive the feature spec of a recipe: its vocabularies come from the items.

    Raises:
        RecipeInvalidError: a device would refuse the spec, or the recipe has more hard negatives
            than there are other items.
        TableInvalidError: the items lack a declared feature.
    """
    hard = recipe.retrieval.hard_negatives
    if hard >= len(items):
        raise RecipeInvalidError(
            f"recipe {recipe.name!r}: retrieval.hard_negatives: {hard} nearest other items are "
            f"needed of each item, but there are {len(items)} items. Set it to at most "
            f"{len(items) - 1}."
        )
    timed = uses_time(recipe)
    names = sorted({name for categories in items.categories for name in categories})
    widest = max((len(c) for c in items.categories), default=1)
    ranker, per_item = recipe.ranker, min(recipe.neighbours.per_item, len(items) - 1)
    spec = FeatureSpec(
        dim=recipe.retrieval.dim,
        max_history=recipe.retrieval.max_history,
        event_types=recipe.events.types,
        categories=tuple(names),
        max_categories=max(1, min(widest, MAX_CATEGORIES)),
        heads=ranker.heads,
        head_weights=ranker.head_weights,
        candidates=ranker.candidates,
        numeric=(
            *NUMERIC,
            *(f"popularity_{days}_days" for days in ranker.popularity_days),
            *_numeric_features(recipe, items),
        ),
        context=CONTEXT if timed else tuple(n for n in CONTEXT if n not in OF_TIME),
        pair=tuple(
            name
            for name in (
                *PAIR,
                *(NEIGHBOUR_PAIR if per_item else ()),
                *(REPEAT_PAIR if recipe.rerank.repeats else ()),
            )
            if timed or name not in OF_TIME
        ),
        # Without times no event is more recent than another: as many as there may be.
        recent=ranker.recent if timed else BOUNDS["recent"][1],
        neighbours=per_item,
        neighbour_decay=recipe.neighbours.decay,
        neighbour_candidates=ranker.neighbour_candidates if per_item else 0,
        own_candidates=ranker.own_candidates if recipe.rerank.repeats else 0,
    )
    try:
        return FeatureSpec.from_json(spec.to_json())
    except BundleInvalidError as err:
        raise RecipeInvalidError(
            f"recipe {recipe.name!r}: a device would refuse it, {err}"
        ) from err


def _numeric_features(recipe: Recipe, items: Items) -> list[str]:
    """Return the declared features that are numeric columns: numbers of at least 0, and flags.

    A number below 0 would mean unknown there, so such features are columns of format 3.
    """
    return [
        name
        for name, one in sorted(declared_items(recipe, items).items())
        if one.ranker and is_number_like(one) and not (items.features[name] < 0).any()
    ]


def category_codes(spec: FeatureSpec, categories: list[tuple[str, ...]]) -> NDArray[np.int32]:
    """Encode categories, int32 [n_items, C]; 0 = padding, unknown names are left out."""
    code = {name: i + 1 for i, name in enumerate(spec.categories)}
    # Millions of items share some thousand combinations, and each is encoded once.
    place: dict[tuple[str, ...], int] = {}
    at = np.array([place.setdefault(names, len(place)) for names in categories], np.int64)
    out = np.zeros((len(place), spec.max_categories), np.int32)
    for row, names in enumerate(place):
        known = [code[name] for name in names if name in code][: spec.max_categories]
        out[row, : len(known)] = known
    return out[at]


def popularity_columns(spec: FeatureSpec) -> dict[str, float]:
    """Return the half-life in days of each popularity column of `numeric`; 0 = none."""
    names = [name for name in spec.numeric if name.startswith("popularity")]
    return {name: 0.0 if name == "popularity" else float(name.split("_")[1]) for name in names}


def release_popularity(spec: FeatureSpec, data: Dataset) -> NDArray[np.float32]:
    """Return the popularity columns of a release made from `data`, float32 [n_items, P]."""
    return np.stack([data.popularity(days) for days in popularity_columns(spec).values()], axis=1)


def numeric_columns(
    spec: FeatureSpec, items: Items, popularity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the raw numeric columns in the spec's order, float32 [n_items, M].

    items: have the declared features of the spec.
    popularity: float32 [n_items, P], see `release_popularity`.
    """
    column = {"year": items.year, "price": items.price}
    column |= dict(zip(popularity_columns(spec), popularity.T, strict=True))
    for name in set(spec.numeric) - column.keys():
        column[name] = np.nan_to_num(items.features[name], nan=MISSING)
    return np.stack([column[name] for name in spec.numeric], axis=1).astype(np.float32)
