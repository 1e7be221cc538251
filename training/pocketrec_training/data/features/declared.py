"""Fit declared features to the items of training: vocabularies, and bins by quantiles."""

from collections import Counter
from dataclasses import replace

import numpy as np

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import Encoded, encoded_vectors, is_coded
from pocketrec_bundle.declared.fitted import MAX_WORD
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import Items, split_categories
from pocketrec_training.data.fields.values import Values
from pocketrec_training.errors import TableInvalidError
from pocketrec_training.recipe.schema import Recipe

MIN_ITEMS = 2
"""Items of a name in a vocabulary; a name of one item would act as the item's id."""


def fit_features(recipe: Recipe, items: Items) -> FittedFeatures:
    """Fit the declared features of a recipe; equal items give equal features.

    Raises:
        TableInvalidError: the items lack a feature.
    """
    table = declared_items(recipe, items)
    return FittedFeatures(
        items=tuple(
            _fit(name, feature, items.features[name]) for name, feature in sorted(table.items())
        )
    )


def declared_items(recipe: Recipe, items: Items) -> dict[str, Feature]:
    """Return the declared features of items by name.

    Raises:
        TableInvalidError: the items lack one.
    """
    table = recipe.features.items
    if lacking := sorted(table.keys() - items.features.keys()):
        raise TableInvalidError(
            f"{col.ITEMS_FILE}: has no feature {', '.join(map(repr, lacking))} of features.items. "
            "Run `pocketrec data` again with this recipe."
        )
    return table


def check_features(recipe: Recipe, items: Items, where: str) -> None:
    """Refuse features that cannot tell one item from another.

    Args:
        recipe: declares the features.
        items: of training.
        where: folder of the tables, for the message.

    Raises:
        TableInvalidError: a feature is not there, unknown for all items, or the same for all.
    """
    for name, feature in declared_items(recipe, items).items():
        values = items.features[name]
        known = _known(feature, values)
        n_values = len(np.unique(known, axis=0)) if len(known) else 0
        if n_values == 0 or (n_values == 1 and len(known) == len(values)):
            found = "no value in any item" if n_values == 0 else "the same value in all items"
            raise TableInvalidError(
                f"{where}: {col.ITEMS_FILE}: features.items.{name} has {found}, so models cannot "
                "learn from it. Correct its column, or remove the feature from the recipe."
            )


def names_of(feature: Feature, values: Values) -> list[tuple[str, ...]]:
    """Return the names of each item of a `category` or `categories` feature."""
    if feature.kind == "categories":
        return [split_categories(text) for text in values]
    return [(text,) if text else () for text in values]


def encoded(fitted: FittedFeature, values: Values) -> Encoded:
    """Return the values of items in the form of a release."""
    if is_coded(fitted.feature):
        # Millions of items share some thousand texts, and each is encoded once.
        place: dict[str, int] = {}
        at = np.array([place.setdefault(text, len(place)) for text in values.tolist()], np.int64)
        distinct = np.array([*place], object)
        return Encoded(fitted.codes(names_of(fitted.feature, distinct))[at])
    if fitted.feature.kind == "vector":
        return encoded_vectors(values)
    return Encoded(np.asarray(values, np.float32))


def _known(feature: Feature, values: Values) -> Values:
    if feature.kind in ("category", "categories", "text"):
        return np.array([text for text in values if text], np.str_)
    if feature.kind == "vector":
        return np.asarray(values[~np.isnan(values).any(axis=1)])
    return np.asarray(values[~np.isnan(values)])


def _fit(name: str, feature: Feature, values: Values) -> FittedFeature:
    if feature.kind in ("category", "categories"):
        counts = Counter(word for names in names_of(feature, values) for word in {*names})
        often = [
            (-n, word) for word, n in counts.items() if n >= MIN_ITEMS and len(word) <= MAX_WORD
        ]
        words = tuple(word for _, word in sorted(often)[: feature.vocabulary])
        return FittedFeature(name=name, feature=feature, names=words)
    if feature.kind != "number":
        return FittedFeature(name=name, feature=feature)
    fitted = FittedFeature(name=name, feature=feature)
    numbers = fitted.scaled(_known(feature, values))
    if not len(numbers):
        return fitted
    quantiles = np.quantile(numbers, np.linspace(0.0, 1.0, feature.buckets + 1))
    edges = np.unique(quantiles.astype(np.float32)).tolist()
    return replace(fitted, edges=tuple(edges) if len(edges) > 1 else ())
