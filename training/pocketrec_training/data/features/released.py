"""Declared features that the ranker reads as a release has them: typed columns of format 3."""

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.encoded import EncodedFeatures
from pocketrec_bundle.declared.item_features import ItemFeatures
from pocketrec_bundle.declared.write import in_memory
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import encoded


def encoded_items(features: FittedFeatures, items: Items) -> EncodedFeatures:
    """Return the values of features by name; items: have these features."""
    return {one.name: encoded(one, items.features[one.name]) for one in features.items}


def item_features(declared: FittedFeatures, spec: FeatureSpec, items: Items) -> ItemFeatures | None:
    """Return the item features that the ranker reads beside the columns of the spec.

    Args:
        declared: all declared features.
        spec: whose numeric columns have some of them already.
        items: with these features.

    Returns:
        The features, as a device reads them from a release of these items; None: there are none.
    """
    read = declared.for_ranker(spec.numeric)
    return in_memory(read, encoded_items(read, items), len(items)) if read.items else None
