"""Choose the reader and writer of the item files by format version (FORMAT.md, "Versions")."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import Array
from pocketrec_bundle.encoding.columns import ArraySource
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items import v1 as items_v1
from pocketrec_bundle.items import v2 as items_v2
from pocketrec_bundle.items.items import ItemArrays, OpenItems


def open_items(
    version: int, source: ArraySource, spec: FeatureSpec, offsets: NDArray[np.int32]
) -> OpenItems:
    """Open and check the item files of a release.

    Args:
        version: of its format.
        source: the release's arrays.
        spec: its feature spec.
        offsets: int32 [C + 1] of the cells, checked.

    Raises:
        BundleInvalidError: one is missing or does not fit.
    """
    opened = items_v1.open_items if version == 1 else items_v2.open_items
    return opened(source, spec, offsets)


def item_files(
    version: int, items: ItemArrays, base: ArraySource | None = None
) -> dict[str, Array]:
    """Return the item files of a release by name.

    Args:
        version: of the format.
        items: in row order.
        base: the previous release, to keep the delta small; None: no previous release.

    Raises:
        InputError: an id is too long.
    """
    return items_v1.item_files(items) if version == 1 else items_v2.item_files(items, base)
