"""Filters of a request: which items a list may hold at all, whatever their scores.

A filter costs time but no recall: retrieval reads more cells (`cells_to_read`) until enough items
pass (`index.py`). An unknown value never passes: an item without a price is in no price range, and
an item without an age rating may be unfit for a child. An item without a list of regions passes
every region, because catalogues list regions only to restrict an item.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.columns import Coded, Column, column_at
from pocketrec_bundle.encoding.strict_json import MAX_NUMBER
from pocketrec_bundle.items.audience import UNRATED, OpenAudience
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.faults import Fault, FaultCode

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bounds of a numeric column of the release, both inclusive and compared as float32."""

    column: str
    low: float = 0.0
    high: float = MAX_NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions on every item of an answer; an item must pass all of them.

    Attributes:
        ranges: bounds of numeric columns, such as `price` or `year`.
        any_of: category names; the item must have at least one of them.
        none_of: category names; the item must not have any of them.
        region: the item must be offered there.
        max_age_rating: highest age rating, in years.
        unrated: whether items without an age rating pass `max_age_rating`.

    Example:
        >>> Filters(any_of=("drama",), ranges=(Range(column="year", low=1990),)).unrated
        False
    """

    ranges: tuple[Range, ...] = ()
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    region: str | None = None
    max_age_rating: int | None = None
    unrated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterColumns:
    """What filters read of a release.

    categories: integer [N, K], 0 = padding, else 1 + place in `category_names`; numeric: float32
    [N, M], named by `numeric_names`, below 0 = unknown.
    """

    category_names: tuple[str, ...]
    categories: Column
    numeric_names: tuple[str, ...]
    numeric: Column
    audience: OpenAudience

    @classmethod
    def of(cls, bundle: Bundle) -> "FilterColumns":
        """Take them from a release."""
        return cls(
            category_names=bundle.spec.categories,
            categories=bundle.categories,
            numeric_names=bundle.spec.numeric,
            numeric=bundle.numeric,
            audience=bundle.audience,
        )


def failing(columns: FilterColumns, filters: Filters) -> Mask:
    """Return which items fail some filter, bool [N].

    Decided once for each different value of a coded column, then gathered by code. A name that the
    release does not have is a column, or category, of which nothing is known.
    """
    passes = np.ones(len(columns.categories), np.bool_)
    for wanted in filters.ranges:
        if wanted.column in columns.numeric_names:
            column = column_at(columns.numeric, columns.numeric_names.index(wanted.column))
            passes &= _decided(column, partial(_within, wanted))
        else:
            passes[:] = False
    if filters.any_of:
        passes &= _decided(columns.categories, _carrying(columns, filters.any_of))
    if filters.none_of:
        passes &= ~_decided(columns.categories, _carrying(columns, filters.none_of))
    passes &= _offered(columns.audience, filters.region)
    passes &= _fit(columns.audience, filters)
    return ~passes


def unknown_names(columns: FilterColumns, filters: Filters, *, hints: bool = False) -> list[str]:
    """Say which names of the filters the release does not have.

    hints: also which of its names are like them; that takes seconds among many categories.
    """
    audience = columns.audience
    regions = () if filters.region is None else (filters.region,)
    asked: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("numeric column", [one.column for one in filters.ranges], columns.numeric_names),
        ("category", (*filters.any_of, *filters.none_of), columns.category_names),
        ("region", regions, audience.region_names),
    )
    found = [
        f"this release has no {kind} {name!r:.200}{_hint(name, known) if hints else ''}"
        for kind, names, known in asked
        for name in names
        if name not in known
    ]
    if filters.max_age_rating is not None and audience.age_ratings is None:
        found.append("this release has no age ratings")
    return found


def cells_to_read(nprobe: int, available: int, passing: int) -> int:
    """Return how many cells hold as many passing items as `nprobe` cells hold items.

    If 10% of items pass, their top 10 spread over as many cells as the overall top 100; stopping
    after k hits lost up to a third of them (`test_a_filter_costs_no_recall`).

    Args:
        nprobe: cells to read without a filter, 0 = all.
        available: items that are not withdrawn.
        passing: those of them that pass.
    """
    return -(-nprobe * available // passing) if passing else nprobe


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterMask:
    """The items that a request must not show: withdrawn ones and those that fail its filters.

    Attributes:
        rows: bool [N], True for excluded items.
        available: number of items that are not withdrawn.
        passing: how many of those pass the filters.
        by_filters: whether the request has filters.
        faults: names that the release does not have, or that no item passes.
    """

    rows: Mask
    available: int
    passing: int
    by_filters: bool = False
    faults: tuple[Fault, ...] = ()

    def cells(self, nprobe: int) -> int:
        """Return how many cells to read instead of `nprobe`."""
        return cells_to_read(nprobe, self.available, self.passing)


class FilterMasks:
    """Makes the `FilterMask` of each request to one release, and keeps the last one.

    A million items take 2 to 3 ms a filter on a server's core (34 ms for categories that are not
    coded, 50 ms for such regions), and the answer, 1 byte an item, is kept until other filters
    come: an app pages through a list with the same ones.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._columns = FilterColumns.of(bundle)
        n = int(bundle.available.sum())
        self._without = FilterMask(rows=~bundle.available, available=n, passing=n)
        self._filters: Filters | None = None
        self._last = self._without

    def of(self, filters: Filters | None) -> FilterMask:
        """Return what must not be shown with these filters; nobody writes into it."""
        if filters is None:
            return self._without
        if filters != self._filters:
            rows = self._without.rows | failing(self._columns, filters)
            passing = int((~rows).sum())
            faults = [
                Fault(FaultCode.UNKNOWN_FILTER, f"filters: {text}")
                for text in unknown_names(self._columns, filters)
            ]
            if not passing:
                faults.append(Fault(FaultCode.ALL_FILTERED, "all items filtered"))
            self._filters = filters
            self._last = FilterMask(
                rows=rows,
                available=self._without.available,
                passing=passing,
                by_filters=True,
                faults=tuple(faults),
            )
        return self._last


def _decided(column: Column, passes: Callable[[NDArray[Any]], Mask]) -> Mask:
    """Decide for every row, bool [N]; of a coded column only for the different values."""
    if isinstance(column, Coded):
        found: Mask = passes(column.values)[column.codes]
        return found
    return passes(column[:])


def _within(wanted: Range, values: NDArray[Any]) -> Mask:
    low, high = (np.float32(np.clip(n, -1.0, MAX_NUMBER)) for n in (wanted.low, wanted.high))
    found: Mask = (values >= 0) & (values >= low) & (values <= high)
    return found


def _carrying(columns: FilterColumns, names: Sequence[str]) -> Callable[[NDArray[Any]], Mask]:
    """Return what decides whether rows of category codes, [n, K], carry one of some names."""
    code = {name: at for at, name in enumerate(columns.category_names, 1)}
    wanted = np.zeros(len(code) + 1, np.bool_)
    wanted[[code[name] for name in names if name in code]] = True
    return lambda codes: wanted[codes.T].any(axis=0)


def _offered(audience: OpenAudience, region: str | None) -> Mask | np.bool_:
    """Return what is offered in a region, bool [N], or True for all."""
    if region is None or audience.regions is None:
        return np.True_
    byte, bit = 0, 8  # no region's
    if region in audience.region_names:
        byte, bit = divmod(audience.region_names.index(region), 8)

    def decide(bits: NDArray[Any]) -> Mask:
        found: Mask = (bits[:, byte] & (1 << bit & 255) > 0) | ~bits.any(axis=1)
        return found

    return _decided(audience.regions, decide)


def _fit(audience: OpenAudience, filters: Filters) -> Mask | np.bool_:
    """Return what is fit for an age, bool [N], or one answer for all."""
    most = filters.max_age_rating
    if most is None:
        return np.True_
    if audience.age_ratings is None:
        return np.bool_(filters.unrated)
    fit = np.arange(UNRATED + 1) <= most
    fit[UNRATED] = filters.unrated
    return _decided(audience.age_ratings, lambda ages: fit[ages])


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r:.200}?" if close else ""
