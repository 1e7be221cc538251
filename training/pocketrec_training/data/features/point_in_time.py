"""Point-in-time joins: what the device would have computed at every past interaction, in Ibis.

`pocketrec_bundle.ranker_features` is the truth: `context_vector` and `category_shares` over the
events of a user's log. Here are the same numbers for all interactions at once; an interaction sees
the events of its user that are strictly earlier, so neither itself nor any other event of the same
second (the rest of its basket) can leak in.

All events of one user and second see the same past; such a pair is a *moment* below, and windows
run over moments, whose order has no ties. Only `recent_*` needs an order within a second, to say
which events of a cut basket are among the last `spec.recent`. The seconds do not tell, and ids may
follow age or popularity, so that order is arbitrary: by MD5 of "user_id:item_id", which DuckDB and
Spark spell alike. (Events of one item are equal to `recent_*`.) The device breaks such ties by its
random event ids, `pocketrec_training.data.dataset` by a seeded CRC-32.
"""

from collections.abc import Callable

import ibis
from ibis.expr import types as ir

from pocketrec_bundle.features import MISSING, NUMERIC, FeatureSpec
from pocketrec_bundle.ranker_features import SESSION_GAP_S
from pocketrec_training.data import columns as col
from pocketrec_training.errors import TableInvalidError

LIKE = "like"


def _known_or_missing(name: str) -> Callable[[ir.Table], ir.Value]:
    return lambda t: t[name].fill_null(MISSING)


# Feature -> its column over the table of `_moments`; a name of FeatureSpec.context that is not
# here is refused, so a feature added on the device cannot be forgotten.
CONTEXT_COLUMNS: dict[str, Callable[[ir.Table], ir.Value]] = {
    "hour": lambda t: (t[col.TS] // 3600) % 24,
    "weekday": lambda t: (t[col.TS] // 86_400 + 3) % 7,
    "session_depth": lambda t: t.session_depth,
    "n_events": lambda t: t.n_before,
    "seconds_since_last": lambda t: t.gap.fill_null(int(MISSING)),
    "seconds_since_first": lambda t: ibis.ifelse(
        t.n_before > 0, t[col.TS] - t.first_ts, int(MISSING)
    ),
    "like_share": lambda t: ibis.ifelse(t.n_before > 0, t.likes_before / t.n_before, 0.0),
    "distinct_share": lambda t: ibis.ifelse(t.n_before > 0, t.met_before / t.n_before, 1.0),
    **{f"recent_{name}": _known_or_missing(f"recent_{name}") for name in NUMERIC},
}


def context_features(spec: FeatureSpec, events: ir.Table, items: ir.Table) -> ir.Table:
    """Return `context_vector` of every moment: user_id, ts, then float32 as `spec.context`.

    Args:
        spec: which features, in which order; `recent` is how many events `recent_*` spans.
        events: canonical interactions; only event types of the spec and items of `items`, which
            are the events that the device's log hands out.
        items: item_id and the columns of `NUMERIC`, raw, -1 = unknown. `recent_*` equals the
            device's if these are the columns of its release: sums of float32 values of ordinary
            scale are exact in float64, whatever the engine's order of adding.

    Raises:
        TableInvalidError: the spec names a feature that has no column here.
    """
    unknown = [name for name in spec.context if name not in CONTEXT_COLUMNS]
    if unknown:
        raise TableInvalidError(
            f"feature_spec.json: context {', '.join(unknown)} has no offline column (there are "
            f"{', '.join(CONTEXT_COLUMNS)}). Add it to CONTEXT_COLUMNS of "
            "training/pocketrec_training/data/features/point_in_time.py, as its twin in "
            "bundle/pocketrec_bundle/ranker_features.py."
        )
    placed = _placed(events)
    moments, recent = _moments(placed), _recent(spec, placed, items)
    # The last event before a moment is the one at place n_before.
    known = moments.left_join(
        recent,
        [moments[col.USER_ID] == recent[col.USER_ID], moments.n_before == recent.place],
    )
    features = {name: CONTEXT_COLUMNS[name](known).cast("float32") for name in spec.context}
    return known.select(col.USER_ID, col.TS, **features)


def category_shares(spec: FeatureSpec, events: ir.Table, items: ir.Table) -> ir.Table:
    """Return `category_shares` of every moment in long form: user_id, ts, code, share > 0.

    Args:
        spec: gives the categories, and how many of an item count.
        events: canonical interactions.
        items: item_id and categories, joined by "|".
    """
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


def _placed(events: ir.Table) -> ir.Table:
    """Add to each event its place in its user's log, from 1, and whether its item is `fresh`."""
    tie = (events[col.USER_ID] + ":" + events[col.ITEM_ID]).hexdigest("md5")
    place = ibis.row_number().over(group_by=col.USER_ID, order_by=[events[col.TS], tie])
    # 0 at the first event of the user with the item; of several in one second, at any one.
    again = ibis.row_number().over(group_by=[col.USER_ID, col.ITEM_ID], order_by=col.TS)
    return events.mutate(place=place + 1, fresh=(again == 0).cast("int64"))


def _moments(placed: ir.Table) -> ir.Table:
    """One row a (user, second) with its past: gap, first_ts, session_depth and *_before."""
    at = placed.group_by([col.USER_ID, col.TS]).aggregate(
        n=placed.count(),
        likes=(placed[col.EVENT] == LIKE).cast("int64").sum(),
        met=placed.fresh.sum(),
    )
    in_time = ibis.window(group_by=col.USER_ID, order_by=col.TS)
    gap = at[col.TS] - at[col.TS].lag().over(in_time)  # null at a user's first moment
    gapped = at.mutate(gap=gap)
    starts = (gapped.gap.isnull() | (gapped.gap > SESSION_GAP_S)).cast("int64")
    so_far = ibis.cumulative_window(group_by=col.USER_ID, order_by=col.TS)
    in_session = gapped.mutate(session=starts.sum().over(so_far))
    before = ibis.rows_window(
        preceding=(None, 1), following=None, group_by=col.USER_ID, order_by=col.TS
    )
    # A moment after a pause opens a session of its own: nothing of the session is before it.
    before_in_session = ibis.rows_window(
        preceding=(None, 1), following=None, group_by=[col.USER_ID, "session"], order_by=col.TS
    )
    return in_session.mutate(
        first_ts=in_session[col.TS].min().over(group_by=col.USER_ID),
        n_before=in_session.n.sum().over(before).fill_null(0),
        likes_before=in_session.likes.sum().over(before).fill_null(0),
        met_before=in_session.met.sum().over(before).fill_null(0),
        session_depth=in_session.n.sum().over(before_in_session).fill_null(0),
    )


def _recent(spec: FeatureSpec, placed: ir.Table, items: ir.Table) -> ir.Table:
    """One row an event: user_id, place, and recent_* over it and those just before; null: none."""
    joined = placed.inner_join(items, col.ITEM_ID)
    last = ibis.rows_window(
        preceding=spec.recent - 1, following=0, group_by=col.USER_ID, order_by="place"
    )
    means = {}
    for name in NUMERIC:
        number = joined[name].cast("float64")
        known = ibis.ifelse(number >= 0, number, ibis.null("float64"))
        means[f"recent_{name}"] = known.mean().over(last)
    return joined.select(col.USER_ID, "place", **means)


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
