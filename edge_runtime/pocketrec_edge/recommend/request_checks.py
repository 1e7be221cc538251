"""Check what an app asks of a phone, before anything is computed or logged.

Each function raises `RequestInvalidError`, which is also a `ValueError`. Names that this release
does not have are no error of a request: they are faults of the answer, because a release may change
after an app was written. Only the event of `feedback` must be one of the release.
"""

import difflib
import math
import operator
import re
from collections.abc import Collection, Sequence
from typing import Any

from pocketrec_bundle.items.catalogue import MAX_ID
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.recommend.filters import Filters, Range

MAX_K = 1000
"""Most items of one answer; a list in pages ends there, too."""
MAX_EVENT = 64
"""Characters of an event's name that a server accepts."""
MAX_VALUE = 1e300
"""Largest value of an event that a server accepts."""
MAX_AGE = 1000
_REQUEST = re.compile(r"[A-Za-z0-9_-]{8,58}")
_CURRENCY = re.compile(r"[A-Z]{3}")


def check_slate(
    *,
    k: int | None,
    page: int | None,
    session: str | None,
    filters: Filters | None,
    deadline_ms: float | None,
    results: Sequence[str],
) -> None:
    """Check the arguments of `Device.recommend` but the scene, see `surfaces.find`.

    Raises:
        RequestInvalidError: one of them is of the wrong type or out of its range.
    """
    check_k(k)
    if page is not None:
        _check_count("page", page, None, "pages count from 1")
    if session is not None and not isinstance(session, str):
        raise RequestInvalidError(
            f"session={session!r:.80}: a token is a text, as page 1 returned it."
        )
    if session is not None and page is None:
        raise RequestInvalidError("session goes with page: give the number of the page, too.")
    if filters is not None:
        check_filters(filters)
    if deadline_ms is not None and not (_is_number(deadline_ms) and deadline_ms >= 0):
        raise RequestInvalidError(
            f"deadline_ms={deadline_ms!r:.80}: a deadline is a number of milliseconds, 0 or more."
        )
    _check_names("results", results, "ids that the app's search found")


def check_k(k: int | None) -> None:
    """Check the size of a slate; None stands for the release's.

    Raises:
        RequestInvalidError: it is not a whole number from 1 to `MAX_K`.
    """
    if k is not None:
        _check_count("k", k, MAX_K, "leave it out for the release's own size")


def check_filters(filters: Filters) -> None:
    """Check types and bounds; unknown names are faults of the answer, see `filters.py`.

    Raises:
        RequestInvalidError: a filter is of the wrong type, or its bounds hold no number.
    """
    if not isinstance(filters, Filters):
        raise RequestInvalidError(
            f"filters={filters!r:.80}: expected a Filters of recommend/filters.py."
        )
    if not _is_list(filters.ranges):
        raise RequestInvalidError(
            f"filters.ranges={filters.ranges!r:.80}: expected a list of Range."
        )
    for one in filters.ranges:
        if not isinstance(one, Range) or not isinstance(one.column, str):
            raise RequestInvalidError(f"filters.ranges: {one!r:.80} is not a Range of a column.")
        if not (_is_real(one.low) and _is_real(one.high) and one.low <= one.high):
            raise RequestInvalidError(
                f"filters.ranges: {one.column}: no number lies between {one.low!r:.40} and "
                f"{one.high!r:.40}."
            )
    _check_names("filters.any_of", filters.any_of, "names of categories")
    _check_names("filters.none_of", filters.none_of, "names of categories")
    if filters.region is not None and not isinstance(filters.region, str):
        raise RequestInvalidError(f"filters.region={filters.region!r:.80}: a region is a text.")
    if not isinstance(filters.unrated, bool):
        raise RequestInvalidError(f"filters.unrated={filters.unrated!r:.80}: give True or False.")
    age = filters.max_age_rating
    if age is not None and not (_is_whole(age) and 0 <= age <= MAX_AGE):
        raise RequestInvalidError(
            f"filters.max_age_rating={age!r:.80}: an age is a whole number of years, 0 to "
            f"{MAX_AGE}."
        )


def check_item(item_id: str) -> None:
    """Check an item's id; it need not be in the release.

    Raises:
        RequestInvalidError: it is not a text, empty, too long for a server, or has a NUL.
    """
    if not isinstance(item_id, str) or not 0 < len(item_id) <= MAX_ID or "\0" in item_id:
        raise RequestInvalidError(
            f"item_id={item_id!r:.80}: an id is a text of 1 to {MAX_ID} characters without NUL."
        )


def check_event(event: str, value: float | None, known: Sequence[str] | None) -> None:
    """Check the name and value of an event.

    Args:
        event: its name.
        value: the number that goes with it.
        known: names of the release; None: no release is open, any name of the right form counts.

    Raises:
        RequestInvalidError: the release has no such event, or the value is not finite.
    """
    if not isinstance(event, str) or not 0 < len(event) <= MAX_EVENT or "\0" in event:
        raise RequestInvalidError(
            f"event={event!r:.80}: an event's name is a text of 1 to {MAX_EVENT} characters."
        )
    if known is not None and event not in known:
        near = difflib.get_close_matches(event, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RequestInvalidError(
            f"event {event!r} is unknown to this release, which has {', '.join(known)}.{hint}"
        )
    if value is not None and not (_is_number(value) and abs(float(value)) <= MAX_VALUE):
        raise RequestInvalidError(f"value={value!r:.80}: a value is a finite number, or None.")


def check_source(request: str | None, place: int | None) -> None:
    """Check which slate an event came from.

    Raises:
        RequestInvalidError: `request` is not an id of a request, or `place` is not a place in it.
    """
    if request is None:
        if place is not None:
            raise RequestInvalidError(
                f"place={place!r:.80}: a place goes with a request; give `Answer.request`, too."
            )
        return
    if not isinstance(request, str) or not _REQUEST.fullmatch(request):
        raise RequestInvalidError(
            f"request={request!r:.80}: expected the text that `Answer.request` holds."
        )
    if place is not None:
        _check_count("place", place, MAX_K, "leave it out and the log looks it up")


def check_currency(currency: str | None, value: float | None) -> None:
    """Check the currency of an amount.

    Raises:
        RequestInvalidError: it is not three capital letters, or there is no value.
    """
    if currency is None:
        return
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise RequestInvalidError(
            f"currency={currency!r:.80}: expected three capital letters (ISO 4217), such as GBP."
        )
    if value is None:
        raise RequestInvalidError(f"currency={currency!r}: it needs a value, the amount.")


def check_consent(granted: bool, terms: str | None, only_sums: bool = False) -> None:
    """Check a decision on consent: "no" and other texts are true in Python.

    Raises:
        RequestInvalidError: `granted` is not a bool, `terms` is not a text, or `only_sums` is not a
            bool or comes with a withdrawal.
    """
    if not isinstance(granted, bool):
        raise RequestInvalidError(f"granted={granted!r:.80}: a decision is True or False.")
    if not isinstance(only_sums, bool) or (only_sums and not granted):
        raise RequestInvalidError(
            f"only_sums={only_sums!r:.80}: expected False, or True with granted=True."
        )
    if terms is not None and not isinstance(terms, str):
        raise RequestInvalidError(f"terms={terms!r:.80}: a version of the terms is a text.")


def check_interests(names: Sequence[str]) -> None:
    """Check that the chosen categories are a list of names.

    Raises:
        RequestInvalidError: they are one text, or hold something else than texts.
    """
    _check_names("names", names, "names of categories")


def check_phone(threads: int, storage_bytes: int | None) -> None:
    """Check the settings of a `Device`.

    Raises:
        RequestInvalidError: one is out of its range.
    """
    _check_count("threads", threads, 1024, "each model runs on so many")
    if storage_bytes is not None:
        _check_count("storage_bytes", storage_bytes, None, "leave it out for no limit")


def _check_count(name: str, value: int, most: int | None, advice: str) -> None:
    if not _is_whole(value) or value < 1 or (most is not None and value > most):
        span = "from 1" if most is None else f"from 1 to {most:,}"
        raise RequestInvalidError(
            f"{name}={value!r:.80}: expected a whole number {span}; {advice}."
        )


def _check_names(name: str, values: Sequence[str], what: str) -> None:
    if not _is_list(values) or not all(isinstance(one, str) for one in values):
        raise RequestInvalidError(f"{name}={values!r:.80}: expected a list of texts, {what}.")


def _is_list(value: Any) -> bool:
    """Whether it can be read more than once: a check would use up an iterator."""
    return isinstance(value, Collection) and not isinstance(value, str | bytes)


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)  # NumPy's integers, too
    except TypeError:
        return False
    return True


def _is_real(value: Any) -> bool:
    """Whether it is a number or an infinity, but no NaN and no bool."""
    try:
        return not isinstance(value, bool | str | bytes) and not math.isnan(value)
    except (TypeError, OverflowError):
        return False


def _is_number(value: Any) -> bool:
    return _is_real(value) and not math.isinf(value)
