"""The offline feature store: the point-in-time features of a data folder, as Parquet.

What is computed, and how it equals the device, is in point_in_time.py; this file gives it the
tables and writes what it finds.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from pocketrec_bundle.disk.files import canonical_json, restore_dir
from pocketrec_bundle.features import FeatureSpec
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import Dataset, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.features.point_in_time import category_shares, context_features
from pocketrec_training.data.staging import staged
from pocketrec_training.recipe.schema import Recipe

FEATURES_FILE = "features.parquet"
SHARES_FILE = "category_shares.parquet"
FEATURES_REPORT_FILE = "features_report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesReport:
    """What was written; rows of `features.parquet` and of `category_shares.parquet`."""

    interactions: int
    moments: int
    shares: int
    context: tuple[str, ...]
    categories: int


def write_features(recipe: Recipe, data_dir: Path, out: Path) -> FeaturesReport:
    """Write the offline features of a data folder to the folder `out`, atomically.

    `features.parquet`: one row an interaction, its canonical columns, then float32 columns named
    and ordered as the spec's `context`. `category_shares.parquet`: user_id, ts, code (int32, index
    into the spec's `categories` + 1), share (float32), one row a share above 0.

    Raises:
        TableInvalidError: the tables are not there, or the spec names an unknown context feature.
    """
    restore_dir(data_dir)
    data = load_dataset(recipe, data_dir)
    spec = feature_spec(recipe, data.items)
    with staged(out) as folder:
        report = _write(spec, data, data_dir / col.INTERACTIONS_FILE, folder)
        (folder / FEATURES_REPORT_FILE).write_bytes(canonical_json(asdict(report)))
    return report


def item_columns(data: Dataset) -> ir.Table:
    """Return the item columns of a release made from `data`: item_id, categories, `NUMERIC`.

    Popularity is the release's, one count an item over the whole training fold, as the device has
    it; so `recent_popularity` alone is not point in time: it knows how popular an item became, the
    user's own training events included. Training takes those out, a case at a time
    (`pocketrec_training.ranker.candidate_lists`); do not train on this column without doing so.
    """
    return ibis.memtable(
        {
            col.ITEM_ID: data.items.ids,
            col.CATEGORIES: ["|".join(names) for names in data.items.categories],
            "popularity": data.popularity(),
            "year": data.items.year,
            "price": data.items.price,
        }
    )


def _write(spec: FeatureSpec, data: Dataset, interactions: Path, folder: Path) -> FeaturesReport:
    connection: Backend = ibis.duckdb.connect()
    events = connection.read_parquet(str(interactions))
    items = connection.create_table("release_items", item_columns(data))
    context = connection.create_table("context", context_features(spec, events, items))
    shares = connection.create_table("shares", category_shares(spec, events, items))
    # The canonical order: by moment, then what tells a moment's events apart.
    order = [col.TS, col.USER_ID, col.ITEM_ID, col.EVENT, col.VALUE]
    joined = events.inner_join(context, [col.USER_ID, col.TS]).order_by(order)
    joined.select(*col.INTERACTIONS, *spec.context).to_parquet(folder / FEATURES_FILE)
    shares.order_by([col.TS, col.USER_ID, "code"]).to_parquet(folder / SHARES_FILE)
    return FeaturesReport(
        interactions=int(events.count().execute()),
        moments=int(context.count().execute()),
        shares=int(shares.count().execute()),
        context=spec.context,
        categories=len(spec.categories),
    )
