"""Make golden cases of declared features from a release's own items, by rules without chance."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeature
from pocketrec_bundle.declared.encoded import Encoded, is_coded
from pocketrec_bundle.golden.features import MAX_CASES, GoldenFeatures, ItemCase, NameCase
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.releases.golden_edges import shortest

STRANGE = ("", "no such name", "\u2603", "caf\u00e9", "cafe\u0301")
"""Names that few vocabularies have: one is empty, two are alike in all but their bytes."""


def golden_features(draft: Bundle) -> GoldenFeatures | None:
    """Return the cases of a release; None if it has no declared features."""
    items = draft.item_features
    if items is None:
        return None
    unmade: list[str] = []
    values = items.encoded()
    rows: dict[int, str] = {0: "the first row", draft.item_count - 1: "the last row"}
    for fitted in draft.features.items:
        for name, found in _situations(fitted, values[fitted.name]).items():
            at = np.flatnonzero(found)
            if not len(at):
                unmade.append(f"{fitted.name}: {name}")
            elif int(at[0]) not in rows:
                rows[int(at[0])] = f"{fitted.name}: {name}"
    chosen = [*rows][:MAX_CASES]
    inputs = items.inputs(np.array(chosen))
    cases = tuple(
        ItemCase(
            name=rows[row],
            item_id=draft.item_id(row),
            item_codes=tuple(inputs["item_codes"][at].tolist()) if "item_codes" in inputs else (),
            **{
                name: shortest(inputs[name][at])
                for name in ("item_numbers", "item_embeddings")
                if name in inputs
            },
        )
        for at, row in enumerate(chosen)
    )
    names = tuple(_names(draft.features.items))[:MAX_CASES]
    return GoldenFeatures(items=cases, names=names, unmade=tuple(unmade[:MAX_CASES]))


def _situations(fitted: FittedFeature, encoded: Encoded) -> dict[str, NDArray[np.bool_]]:
    """Return what a value can be, and which rows have such a value, bool [N]."""
    values: NDArray[Any] = encoded.values
    if is_coded(fitted.feature):
        known, first = np.asarray(values.any(axis=1), np.bool_), values[:, 0]
        found = {
            "unknown": ~known,
            "a name of the vocabulary": (first > 0) & (first <= len(fitted.names)),
            "the largest code": (values == values.max()).any(axis=1),
        }
        if fitted.feature.hash_buckets:
            found["a name in a hash bucket"] = (values > len(fitted.names)).any(axis=1)
        if fitted.width > 1:
            full = np.asarray(values.all(axis=1), np.bool_)
            found |= {"a full list": full, "a list that is not full": known & ~full}
        return found
    if fitted.feature.kind == "vector":
        known = np.asarray(values.any(axis=1), np.bool_)
        return {"unknown": ~known, "known": known}
    return {
        "unknown": np.isnan(values),
        "below 0": values < 0,
        "0": values == 0,
        "above 0": values > 0,
        "the largest number": values == np.nan_to_num(values, nan=-np.inf).max(),
    }


def _names(features: tuple[FittedFeature, ...]) -> Iterator[NameCase]:
    for place, fitted in enumerate(features):
        if is_coded(fitted.feature):
            some = dict.fromkeys((*fitted.names[:1], *fitted.names[-1:], *STRANGE))
            for name in some:
                yield NameCase(feature=place, name=name, code=fitted.code(name))
