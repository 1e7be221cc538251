"""Apply changes to a release's items: add, change, withdraw, restore."""

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.encoded import EncodedFeatures
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows
from pocketrec_export.items.changes import Changes
from pocketrec_export.items.index_builder import nearest
from pocketrec_export.items.item_table import ItemTable
from pocketrec_export.items.new_features import check_complete, new_features
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.declared import encoded
from pocketrec_training.data.fields.values import Values
from pocketrec_training.towers.feature_inputs import NO_FEATURES


def apply_changes(
    table: ItemTable,
    changes: Changes,
    centroids: Floats32,
    trained_ids: Set[str],
    vectors_for: Callable[[Items], Floats32],
    declared: FittedFeatures = NO_FEATURES,
) -> ItemTable:
    """Return the items after the changes; new items are last.

    An item keeps the bytes of its vector, and its cell, whatever changes: it has a history, and an
    item near the edge of two cells can be nearer the other centre once it is rounded to int8 (2 of
    1,682 films at 64 cells). Only an item that joined after training is known by its content alone,
    so new content gives it a new vector.

    Args:
        table: the items before.
        changes: to them.
        centroids: float32 [cells, d], which stay.
        trained_ids: items that training knew.
        vectors_for: gives vectors of items by their content, float32 [n, d]; called once at most.
        declared: features of the run.

    Raises:
        InputError: the changes add a known id, name an unknown one, or contradict themselves.
    """
    row_of = {item_id: row for row, item_id in enumerate(table.items.ids)}
    _check(changes, row_of, table.available)
    available = table.available.copy()
    available[[row_of[item_id] for item_id in changes.withdraw]] = False
    available[[row_of[item_id] for item_id in changes.restore]] = True
    items, touched = _changed(table.items, changes, row_of)
    where = str(changes.path)
    given: dict[int, Mapping[str, object]] = {}
    for one in changes.change:  # later changes of one item see the earlier ones
        if one.features:
            row = row_of[one.item_id]
            given[row] = {**given.get(row, {}), **one.features}
    content = {*touched, *given}
    stale = sorted(row for row in content if items.ids[row] not in trained_ids)
    for row in stale:
        check_complete(declared, items.ids[row], given.get(row), where)
    numeric = frozenset(items.features)
    pairs = [(items.ids[row], one) for row, one in given.items()]
    changed = new_features(declared, pairs, where, numeric)
    added = new_features(
        declared, zip(changes.add.ids, changes.add_features, strict=True), where, numeric
    )
    items = replace(items, features=_released(items.features, given, changed))
    typed = _typed(table.typed, declared, given, changed, added)
    known = len(table)
    table = _extended(
        replace(table, items=items, available=available),
        replace(changes.add, features=added),
        typed,
    )
    fresh = np.array([*stale, *range(known, known + len(changes.add))], np.int64)
    if len(fresh):
        place_of = {row: place for place, row in enumerate(given)}
        places = np.array([place_of[row] for row in stale if row in place_of], np.int64)
        features = {name: np.concatenate([changed[name][places], added[name]]) for name in added}
        vectors = vectors_for(replace(table.items.pick(fresh), features=features))
        table.rows[fresh], table.scales[fresh] = quantize_rows(vectors)
        table.cell[fresh] = nearest(vectors, centroids)
    return table


def _released(
    features: Mapping[str, Values],
    given: Mapping[int, Mapping[str, object]],
    changed: Mapping[str, Values],
) -> dict[str, Values]:
    """Return the features that the release has, with the values that changes give."""
    found = {name: values.copy() for name, values in features.items()}
    for place, (row, values) in enumerate(given.items()):
        for name in values.keys() & found.keys():
            found[name][row] = changed[name][place]
    return found


def _typed(
    before: EncodedFeatures,
    declared: FittedFeatures,
    given: Mapping[int, Mapping[str, object]],
    changed: Mapping[str, Values],
    added: Mapping[str, Values],
) -> EncodedFeatures:
    """Return the release's item features with the changes, and those of new items behind them."""
    found = {}
    for fitted in declared.items:
        name = fitted.name
        if name not in before:
            continue
        at = [(row, place) for place, (row, values) in enumerate(given.items()) if name in values]
        rows = np.array([row for row, _ in at], np.int64)
        places = np.array([place for _, place in at], np.int64)
        mine = before[name].replaced(rows, encoded(fitted, changed[name][places]))
        found[name] = mine.plus(encoded(fitted, added[name]))
    return found


def _check(changes: Changes, row_of: dict[str, int], available: NDArray[np.bool_]) -> None:
    where = changes.path
    for item_id in changes.add.ids:
        if item_id in row_of:
            gone = not available[row_of[item_id]]
            use = "restore, for it was withdrawn" if gone else "change"
            raise InputError(f"{where}: add: {item_id!r} is in the catalogue already; use {use}.")
    if len(set(changes.add.ids)) < len(changes.add):
        ((twice, _),) = Counter(changes.add.ids).most_common(1)
        raise InputError(f"{where}: add: {twice!r} is added twice.")
    changed = [one.item_id for one in changes.change]
    for kind, ids in (
        ("change", changed),
        ("withdraw", changes.withdraw),
        ("restore", changes.restore),
    ):
        for item_id in ids:
            if item_id not in row_of:
                hint = ""
                if kind != "withdraw":
                    hint = " If it was withdrawn and a compaction removed it, add it again."
                raise InputError(
                    f"{where}: {kind}: {item_id!r} is not in the base bundle's catalogue.{hint}"
                )
    if both := set(changes.withdraw) & set(changes.restore):
        raise InputError(f"{where}: {min(both)!r} is both withdrawn and restored.")
    for item_id in changes.restore:
        if available[row_of[item_id]]:
            raise InputError(f"{where}: restore: {item_id!r} was never withdrawn.")


def _changed(items: Items, changes: Changes, row_of: dict[str, int]) -> tuple[Items, list[int]]:
    """Return the known items with their new content, and the rows whose content really differs.

    Regions and age ratings are no content that a vector is made from.
    """
    titles, categories = list(items.titles), list(items.categories)
    price, year = items.price.copy(), items.year.copy()
    audience = items.for_whom().pick(np.arange(len(items)))
    rows = {row_of[one.item_id] for one in changes.change}
    for one in changes.change:
        row = row_of[one.item_id]
        titles[row] = titles[row] if one.title is None else one.title
        categories[row] = categories[row] if one.categories is None else one.categories
        price[row] = price[row] if one.price is None else one.price
        year[row] = year[row] if one.year is None else one.year
        if one.regions is not None:
            audience.regions[row] = one.regions
        if one.age_rating is not None:
            audience.age_ratings[row] = one.age_rating
    differs = [
        row
        for row in sorted(rows)
        if titles[row] != items.titles[row]
        or categories[row] != items.categories[row]
        or price[row] != items.price[row]
        or year[row] != items.year[row]
    ]
    found = replace(
        items, titles=titles, categories=categories, price=price, year=year, audience=audience
    )
    return found, differs


def _extended(table: ItemTable, new: Items, typed: EncodedFeatures) -> ItemTable:
    """Append items without vectors, popularity or neighbours; all arrays are copies.

    typed: item features of the release, of all items.
    """
    n, items = len(new), table.items
    dim, columns = table.rows.shape[1], table.popularity.shape[1]
    return ItemTable(
        items=Items(
            ids=[*items.ids, *new.ids],
            titles=[*items.titles, *new.titles],
            categories=[*items.categories, *new.categories],
            price=np.concatenate([items.price, new.price]),
            year=np.concatenate([items.year, new.year]),
            audience=items.for_whom().plus(new.for_whom()),
            features={
                name: np.concatenate([values, new.features[name]])
                for name, values in items.features.items()
            },
        ),
        rows=np.concatenate([table.rows, np.zeros((n, dim), np.int8)]),
        scales=np.concatenate([table.scales, np.ones(n, np.float32)]),
        cell=np.concatenate([table.cell, np.zeros(n, np.int64)]),
        popularity=np.concatenate([table.popularity, np.zeros((n, columns), np.float32)]),
        available=np.concatenate([table.available, np.ones(n, np.bool_)]),
        neighbours=table.neighbours.extended(n) if table.neighbours else None,
        typed=typed,
    )
