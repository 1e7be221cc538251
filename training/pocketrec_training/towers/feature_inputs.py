"""Inputs of the item tower for declared features. They stay on the server."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeature, FittedFeatures
from pocketrec_bundle.floats import Floats32
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import names_of
from pocketrec_training.data.fields.values import Values, unknown
from pocketrec_training.towers.word_codes import n_tokens, padded_codes

NO_FEATURES = FittedFeatures()
MAX_TEXT_WORDS = 32
"""Words of a `text` feature that the tower reads, the first ones; all count for similarity
(`pocketrec_training.neighbours.content_features`)."""

_LEAST = 1e-12


def feature_inputs(declared: FittedFeatures, items: Items) -> dict[str, NDArray[Any]]:
    """Encode the declared features of items, one array each, named `feature_NAME`.

    Returns:
        Of names: codes i32 [n, width], 0 = unknown or padding. Of a number: f32 [n, 1 + bins],
        whether it is known and how far it is through each bin (PLE; Gorishniy et al. 2022). Of a
        flag: f32 [n, 2], whether it is known and its value. Of a text: codes of its first words and
        pairs, i32 [n, T], 0 = padding. Of a vector: f32 [n, length], brought to length 1. What is
        unknown is 0 everywhere, also if `items` lack the feature.
    """
    found = {}
    for fitted in declared.items:
        values = items.features.get(fitted.name)
        if values is None:
            values = unknown(fitted.feature, len(items))
        found[col.FEATURE + fitted.name] = _encode(fitted, values)
    return found


def input_sizes(declared: FittedFeatures) -> dict[str, tuple[int, int]]:
    """Return width and number of codes of each input; numbers have no codes."""
    return {col.FEATURE + one.name: (_width(one), one.n_codes) for one in declared.items}


def text_inputs(declared: FittedFeatures) -> list[str]:
    """Return the inputs that hold words, which the tower weighs by rarity."""
    return [col.FEATURE + one.name for one in declared.items if one.feature.kind == "text"]


def _encode(fitted: FittedFeature, values: Values) -> NDArray[Any]:
    kind = fitted.feature.kind
    if kind in ("category", "categories"):
        return fitted.codes(names_of(fitted.feature, values))
    if kind == "text":
        return padded_codes(values.tolist(), fitted.n_codes, MAX_TEXT_WORDS)
    if kind == "vector":
        known = np.nan_to_num(values, nan=0.0)
        lengths = np.linalg.norm(known, axis=1, keepdims=True)
        return np.asarray(known / np.maximum(lengths, _LEAST), np.float32)
    known = ~np.isnan(values)
    rest = values[:, None] if kind == "flag" else _bins(fitted, values)
    parts = [known[:, None], np.where(known[:, None], rest, 0.0)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _bins(fitted: FittedFeature, numbers: Floats32) -> Floats32:
    """Return how far each number is through each bin, float32 [n, bins], 0..1."""
    edges = np.array(fitted.edges, np.float32)
    widths = np.diff(edges)
    through = (fitted.scaled(numbers)[:, None] - edges[:-1]) / widths
    return np.asarray(np.clip(through, 0.0, 1.0), np.float32)


def _width(fitted: FittedFeature) -> int:
    kind = fitted.feature.kind
    if kind in ("category", "categories"):
        return fitted.width
    if kind == "text":
        return n_tokens(MAX_TEXT_WORDS)
    if kind == "vector":
        return fitted.feature.length
    return 2 if kind == "flag" else max(1, len(fitted.edges))
