"""Declared features of the tiny bundle in version 3, one of each kind and form."""

import numpy as np

from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import Encoded, EncodedFeatures, encoded_vectors

_LENGTH = 4
FEATURES = FittedFeatures(
    items=(
        FittedFeature(
            name="brand",
            feature=Feature(kind="category", vocabulary=4, hash_buckets=2, ranker=True),
            names=("acme", "b\u00f6lt", "core"),
        ),
        FittedFeature(name="image", feature=Feature(kind="vector", length=_LENGTH, ranker=True)),
        FittedFeature(
            name="margin",
            feature=Feature(kind="number", clip=(-50.0, 50.0), buckets=2, ranker=True),
            edges=(-9.5, 0.0, 8.0),
        ),
        FittedFeature(name="new", feature=Feature(kind="flag", ranker=True)),
        FittedFeature(
            name="tags",
            feature=Feature(kind="categories", vocabulary=900, most=3, ranker=True),
            names=tuple(f"tag {place}" for place in range(900)),
        ),
        FittedFeature(
            name="weight",
            feature=Feature(kind="number", log=True, buckets=2, ranker=True),
            edges=(0.0, 1.0, 4.0),
        ),
    )
)
"""Brand's codes are fields; margin, new and tags are places in tables; weight lies by row."""


def tiny_features(n: int) -> EncodedFeatures:
    """Return the values of n items: unknown ones, hashed codes, negative and repeated ones."""
    rng = np.random.default_rng(13)
    margin = ((np.arange(n) % 40 - 20) / 2).astype(np.float32)  # a field that begins in one byte
    margin[::6] = np.nan
    image = rng.normal(size=(n, _LENGTH)).astype(np.float32)
    image[::5] = np.nan
    weight = np.round(rng.uniform(0, 5, n), 3).astype(np.float32)
    weight[7] = np.nan
    tags = np.array([(0, 0, 0), (1, 0, 0), (900, 2, 0), (7, 8, 9)], np.int32)
    return {
        "brand": Encoded(rng.integers(0, 6, (n, 1)).astype(np.int32)),
        "image": encoded_vectors(image),
        "margin": Encoded(margin),
        "new": Encoded(rng.choice(np.array([0, 1, np.nan], np.float32), n)),
        "tags": Encoded(tags[rng.integers(0, 4, n)]),
        "weight": Encoded(weight),
    }
