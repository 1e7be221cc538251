"""Declared features of an item in words, for explanations."""

import numpy as np

from pocketrec_bundle.declared.encoded import is_coded, is_number_like
from pocketrec_bundle.declared.fitted import FittedFeature
from pocketrec_bundle.declared.item_features import ItemFeatures, column_names

UNKNOWN = "unknown"


def in_words(items: ItemFeatures | None, row: int) -> dict[str, str]:
    """Return what the ranker reads of an item's declared features, by name; {} without any.

    A name beyond the vocabulary is "another name", because a release has its code only. A vector is
    "16 numbers". Features that are numeric columns of the spec are not among them.
    """
    if items is None:
        return {}
    inputs = items.inputs(np.array([row]))
    names = column_names(items.features)
    found = {}
    for fitted in items.features.items:
        if is_coded(fitted.feature):
            at = [place for place, name in enumerate(names["item_codes"]) if name == fitted.name]
            codes = inputs["item_codes"][0, at]
            found[fitted.name] = ", ".join(
                _name(fitted, code) for code in codes[codes > 0].tolist()
            )
        elif is_number_like(fitted.feature):
            at = [place for place, name in enumerate(names["item_numbers"]) if name == fitted.name]
            number, known = inputs["item_numbers"][0, at].tolist()
            found[fitted.name] = f"{number:g}" if known else UNKNOWN
        else:
            at = [i for i, name in enumerate(names["item_embeddings"]) if name == fitted.name]
            known = inputs["item_embeddings"][0, at].any()
            found[fitted.name] = f"{fitted.feature.length} numbers" if known else UNKNOWN
    return {name: text or UNKNOWN for name, text in found.items()}


def _name(fitted: FittedFeature, code: int) -> str:
    return fitted.names[code - 1] if code <= len(fitted.names) else "another name"
