"""Everything of a bundle that comes from items rather than models."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.encoded import EncodedFeatures
from pocketrec_bundle.declared.fitted import FILE as FEATURES_FILE
from pocketrec_bundle.declared.write import feature_files
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.items.audience import NAMES_FILE, OpenAudience, audience_files
from pocketrec_bundle.items.audience import SINCE as AUDIENCE_SINCE
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.cohorts import CODES_FILE, ROWS_FILE
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.reader import COHORTS_SINCE, MAX_POPULAR, Bundle
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.items.cohorts import cohort_lists
from pocketrec_export.items.index_builder import BuiltIndex, by_id
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.columns import category_codes, numeric_columns
from pocketrec_training.monitoring.progress import SHOWN_EVERY, Progress
from pocketrec_training.towers.feature_inputs import NO_FEATURES

NO_VALUES: EncodedFeatures = MappingProxyType({})


def add_items(
    writer: BundleWriter,
    spec: FeatureSpec,
    items: Items,
    index: BuiltIndex,
    popularity: NDArray[np.float32],
    available: NDArray[np.bool_],
    neighbours: Neighbours | None,
    base: Bundle | None = None,
    *,
    typed: FittedFeatures = NO_FEATURES,
    encoded: EncodedFeatures = NO_VALUES,
) -> None:
    """Add index, item columns, ids, fallback lists and catalogue, all in bundle row order.

    Args:
        writer: the bundle being made; its format version says how the items are stored.
        spec: vocabularies of the columns.
        items: canonical order.
        index: built from these items' vectors.
        popularity: float32 [N, P], canonical order; orders the fallback lists by the first column.
        available: bool [N], canonical order; False withdraws an item and keeps its row.
        neighbours: of all N items, canonical order, if the release has any.
        base: the release that this one follows, so that a delta between them stays small.
        typed: declared features that the ranker reads beside the columns of the spec.
        encoded: their values, canonical order.

    Raises:
        InputError: items have regions or age ratings that the release cannot hold.
    """
    order = index.order
    row = np.argsort(order)  # of each canonical item
    by_popularity = np.lexsort((np.arange(len(order)), -popularity[order, 0]))
    popular = by_popularity[available[order][by_popularity]][:MAX_POPULAR]
    arrays: dict[str, NDArray[Any]] = {
        "index/centroids": index.centroids,
        "index/offsets": index.offsets,
        "index/rows": index.rows,
        "items/popular": popular.astype(np.int32),
    }
    codes = category_codes(spec, items.categories)[order].astype(np.uint16)
    if writer.format_version >= COHORTS_SINCE:
        cohorts = cohort_lists(codes, popularity[order, 0], available[order])
        arrays |= {CODES_FILE: cohorts.codes, ROWS_FILE: cohorts.rows}
    in_rows = ItemArrays(
        ids=[items.ids[i] for i in order.tolist()],
        by_id=row[by_id(items.ids)],
        offsets=index.offsets,
        scales=index.scales,
        categories=codes,
        numeric=numeric_columns(spec, items, popularity)[order],
        available=available[order],
    )
    arrays |= item_files(writer.format_version, in_rows, base)
    audience = items.for_whom().pick(order)
    if writer.format_version >= AUDIENCE_SINCE:
        before = OpenAudience() if base is None else base.audience
        region_names, columns = audience_files(audience, before, base)
        arrays |= columns
        if region_names is not None:
            writer.add(NAMES_FILE, region_names, "json")
    elif audience.says_something():
        raise InputError(
            "items have regions or an age rating, which a release of version "
            f"{writer.format_version} cannot hold. Set export.format_version = 2."
        )
    if typed.items:
        in_order = {name: one.pick(order) for name, one in encoded.items()}
        written, columns = feature_files(typed, in_order, base)
        arrays |= columns
        writer.add(FEATURES_FILE, canonical_json(written.to_json()), "json")
    if neighbours is not None:
        placed = neighbours.reordered(order)
        arrays["items/neighbours"] = placed.rows.astype(np.int32)
        arrays["items/neighbour_weights"] = placed.weights
        arrays["items/neighbour_scales"] = placed.scales
    with Progress("item files", len(arrays)) as bar:
        for done, (name, array) in enumerate(arrays.items(), 1):
            writer.add(name, encode_array(array), "array")
            bar.advance(done, name)
    # Beside the bundle, so that only its own disk need have room.
    with (
        tempfile.TemporaryDirectory(dir=writer.blob_dir.parent) as scratch,
        Progress("catalogue", len(order)) as bar,
    ):
        path = Path(scratch) / "catalogue.sqlite"
        write_catalogue(path, _displays(items, order, bar))
        writer.add("catalogue.sqlite", path.read_bytes(), "catalogue")


def _displays(items: Items, order: NDArray[np.int64], bar: Progress) -> Iterator[CatalogueItem]:
    for row, at in enumerate(order):
        if row % SHOWN_EVERY == 0:
            bar.advance(row)
        yield _display(items, row, int(at))
    bar.advance(len(order))


def _display(items: Items, row: int, at: int) -> CatalogueItem:
    price, year = float(items.price[at]), float(items.year[at])
    return CatalogueItem(
        row=row,
        item_id=items.ids[at],
        title=items.titles[at],
        categories="|".join(items.categories[at]),
        price=price if price >= 0 else None,
        year=int(year) if year >= 0 else None,
    )
