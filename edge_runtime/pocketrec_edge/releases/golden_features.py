"""Compare a device's inputs of declared features with `golden_features.json`."""

from collections.abc import Iterator

import numpy as np

from pocketrec_bundle.golden.features import GoldenFeatures
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.golden_edges import Comparison, compare


def check_features(device: Recommender, golden: GoldenFeatures) -> Iterator[Comparison]:
    """Compare the inputs of every item, and the code of every name."""
    for case in golden.items:
        row = device.bundle.row_of(case.item_id)
        for name, values in device.items.of_rows(np.array([row])).items():
            if hasattr(case, name):
                yield compare(f"features/{name}", case.name, values[0], getattr(case, name))
    features = device.bundle.features.items
    for one in golden.names:
        fitted = features[one.feature]
        found = fitted.code(one.name)
        yield compare("features/names", f"{fitted.name} {one.name!r}", found, one.code, "its code")
