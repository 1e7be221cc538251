"""The offline feature store: what the device would have computed, at every past interaction.

`bundle/features.py` is the truth: `context_vector` and `user_categories` over the events of a
user's log. Here are the same numbers for all interactions at once, as point-in-time joins in Ibis:
an interaction sees the events of its user that are strictly earlier, so neither itself nor another
event of the same second (the rest of its basket) can leak in.

All events of one user and second see the same past; such a pair is a *moment* below, and windows
run over moments, whose order has no ties.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from bundle.features import MISSING, SESSION_GAP_S, FeatureSpec
from bundle.files import canonical_json, replace_dir, restore_dir, write_failed
from training import columns as col
from training.errors import TableInvalid

FEATURES_FILE = "features.parquet"
SHARES_FILE = "category_shares.parquet"
FEATURES_REPORT_FILE = "features_report.json"
LIKE = "like"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesReport:
    """What was written; rows of `features.parquet` and of `category_shares.parquet`."""

    interactions: int
    moments: int
    shares: int
    context: tuple[str, ...]
    categories: int


# Feature -> its column over the table of `_moments`; a name of FeatureSpec.context that is not
# here is refused, so a feature added on the device cannot be forgotten.
CONTEXT_COLUMNS: dict[str, Callable[[ir.Table], ir.Value]] = {
    "hour": lambda t: (t[col.TS] // 3600) % 24,
    "weekday": lambda t: (t[col.TS] // 86_400 + 3) % 7,
    "session_depth": lambda t: t.session_depth,
    "n_events": lambda t: t.n_before,
    "seconds_since_last": lambda t: t.gap.fill_null(int(MISSING)),
    "like_share": lambda t: ibis.ifelse(t.n_before > 0, t.likes_before / t.n_before, 0.0),
}


def write_features(spec: FeatureSpec, data_dir: Path, out: Path) -> FeaturesReport:
    """Write the offline features of a data folder to the folder `out`, atomically.

    `features.parquet`: one row an interaction, its canonical columns, then float32 columns named
    and ordered as `spec.context`. `category_shares.parquet`: user_id, ts, code (int32, index into
    `spec.categories` + 1), share (float32), one row a share above 0.

    Raises:
        TableInvalid: the tables are not there, or the spec names an unknown context feature.
    """
    restore_dir(data_dir)
    for name in (col.INTERACTIONS_FILE, col.ITEMS_FILE):
        if not (data_dir / name).is_file():
            raise TableInvalid(f"{data_dir / name}: not there. Run `pocketrec data` first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        report = _write(spec, data_dir, folder)
        (folder / FEATURES_REPORT_FILE).write_bytes(canonical_json(asdict(report)))
        replace_dir(folder, out)
    except OSError as err:
        raise write_failed(out, err) from err
    except duckdb.IOException as err:
        raise TableInvalid(f"{out}: {err}") from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _write(spec: FeatureSpec, data_dir: Path, folder: Path) -> FeaturesReport:
    connection: Backend = ibis.duckdb.connect()
    events = connection.read_parquet(str(data_dir / col.INTERACTIONS_FILE))
    items = connection.read_parquet(str(data_dir / col.ITEMS_FILE))
    context = connection.create_table("context", context_features(spec, events))
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


def context_features(spec: FeatureSpec, events: ir.Table) -> ir.Table:
    """Return `context_vector` of every moment: user_id, ts, then float32 as `spec.context`.

    Args:
        spec: which features, in which order.
        events: canonical interactions; only event types of the spec.

    Raises:
        TableInvalid: the spec names a feature that has no column here.
    """
    unknown = [name for name in spec.context if name not in CONTEXT_COLUMNS]
    if unknown:
        raise TableInvalid(
            f"feature_spec.json: context {', '.join(unknown)} has no offline column (there are "
            f"{', '.join(CONTEXT_COLUMNS)}). Add it to CONTEXT_COLUMNS of training/"
            "offline_features.py, beside its twin in bundle/features.py."
        )
    moments = _moments(events)
    features = {name: CONTEXT_COLUMNS[name](moments).cast("float32") for name in spec.context}
    return moments.select(col.USER_ID, col.TS, **features)


def category_shares(spec: FeatureSpec, events: ir.Table, items: ir.Table) -> ir.Table:
    """Return `user_categories` of every moment in long form: user_id, ts, code, share > 0."""
    marks = _marks(spec, items)
    counts = (
        events.inner_join(marks, col.ITEM_ID)
        .group_by([col.USER_ID, col.TS, "code"])
        .aggregate(n=lambda t: t["mark"].count())
    )
    moments = events.select(col.USER_ID, col.TS).distinct()
    codes = counts.select(col.USER_ID, "code").distinct()
    every = moments.inner_join(codes, col.USER_ID)
    filled = every.left_join(counts, [col.USER_ID, col.TS, "code"]).select(
        user_id=every[col.USER_ID],
        ts=every[col.TS],
        code=every["code"],
        n=counts["n"].fill_null(0),
    )
    before = ibis.rows_window(
        preceding=(None, 1), following=None, group_by=[col.USER_ID, "code"], order_by=col.TS
    )
    past = filled.mutate(n_before=filled["n"].sum().over(before).fill_null(0))
    total = past["n_before"].sum().over(group_by=[col.USER_ID, col.TS])
    past = past.mutate(total=total).filter(lambda t: t.n_before > 0)
    return past.select(
        col.USER_ID, col.TS, "code", share=(past.n_before / past.total).cast("float32")
    )


def _moments(events: ir.Table) -> ir.Table:
    """One row a (user, second) with its past: gap, n_before, likes_before, session_depth."""
    at = events.group_by([col.USER_ID, col.TS]).aggregate(
        n=events.count(), likes=(events[col.EVENT] == LIKE).cast("int64").sum()
    )
    in_time = ibis.window(group_by=col.USER_ID, order_by=col.TS)
    gap = at[col.TS] - at[col.TS].lag().over(in_time)  # null at a user's first moment
    gapped = at.mutate(gap=gap)
    starts = (gapped.gap.isnull() | (gapped.gap > SESSION_GAP_S)).cast("int64")
    so_far = ibis.cumulative_window(group_by=col.USER_ID, order_by=col.TS)
    placed = gapped.mutate(session=starts.sum().over(so_far))
    before = ibis.rows_window(
        preceding=(None, 1), following=None, group_by=col.USER_ID, order_by=col.TS
    )
    # A moment after a pause opens a session of its own: nothing of the session is before it.
    in_session = ibis.rows_window(
        preceding=(None, 1), following=None, group_by=[col.USER_ID, "session"], order_by=col.TS
    )
    return placed.mutate(
        n_before=placed.n.sum().over(before).fill_null(0),
        likes_before=placed.likes.sum().over(before).fill_null(0),
        session_depth=placed.n.sum().over(in_session).fill_null(0),
    )


def _marks(spec: FeatureSpec, items: ir.Table) -> ir.Table:
    """One row a category mark of an item (item_id, mark, code), as `category_codes` keeps them."""
    names = items.select(col.ITEM_ID, name=items[col.CATEGORIES].split("|"))
    listed = names.unnest("name", offset="mark")
    codes = ibis.memtable(
        {"name": list(spec.categories), "code": list(range(1, len(spec.categories) + 1))},
        schema=ibis.schema({"name": "string", "code": "int32"}),
    )
    known = listed.inner_join(codes, "name")
    place = ibis.row_number().over(group_by=col.ITEM_ID, order_by=known["mark"])
    return (
        known.mutate(place=place)
        .filter(lambda t: t.place < spec.max_categories)
        .select(col.ITEM_ID, "mark", "code")
    )
