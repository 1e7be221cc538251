"""Options of `pocketrec device recommend` that filter, and what they become."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from pocketrec_bundle.reader import Bundle
    from pocketrec_edge.recommend.filters import Filters

_OPTIONS = (
    click.option("--price-min", type=float, help="Least price; unknown prices are left out."),
    click.option("--price-max", type=float, help="Highest price; unknown ones are left out."),
    click.option(
        "--range",
        "ranges",
        type=(str, float, float),
        multiple=True,
        metavar="COLUMN LOW HIGH",
        help="Bounds of any numeric column, as `year 1990 inf`; may be repeated.",
    ),
    click.option(
        "--category",
        "any_of",
        multiple=True,
        metavar="NAME",
        help="Only items of this category; repeated: of any of them.",
    ),
    click.option(
        "--not-category",
        "none_of",
        multiple=True,
        metavar="NAME",
        help="No items of this category; may be repeated.",
    ),
    click.option("--region", help="Only items offered there; those without a list are."),
    click.option(
        "--max-age-rating",
        type=click.IntRange(0),
        metavar="YEARS",
        help="Only items rated for this age or a lower one; unrated ones are left out.",
    ),
    click.option("--unrated", is_flag=True, help="With --max-age-rating: unrated items too."),
)


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets one argument `filters` for them all."""

    @wraps(command)
    def call(
        *,
        price_min: float | None,
        price_max: float | None,
        ranges: tuple[tuple[str, float, float], ...],
        any_of: tuple[str, ...],
        none_of: tuple[str, ...],
        region: str | None,
        max_age_rating: int | None,
        unrated: bool,
        **others: Any,
    ) -> None:
        from pocketrec_edge.recommend.filters import Filters, Range

        if price_min is not None or price_max is not None:
            low, high = price_min or 0.0, float("inf") if price_max is None else price_max
            ranges = (("price", low, high), *ranges)
        for column, low, high in ranges:
            if not low <= high:
                raise InputError(f"{column}: no number lies between {low:g} and {high:g}.")
        if unrated and max_age_rating is None:
            raise InputError("--unrated goes with --max-age-rating.")
        made = Filters(
            ranges=tuple(Range(column=name, low=low, high=high) for name, low, high in ranges),
            any_of=any_of,
            none_of=none_of,
            region=region,
            max_age_rating=max_age_rating,
            unrated=unrated,
        )
        command(filters=None if made == Filters() else made, **others)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


def checked(filters: "Filters | None", bundle: "Bundle | None") -> "Filters | None":
    """Return the filters if the release, where there is one, knows all their names.

    Raises:
        InputError: it does not.
    """
    from pocketrec_edge.recommend.filters import FilterColumns, unknown_names

    if filters is not None and bundle is not None:
        unknown = unknown_names(FilterColumns.of(bundle), filters, hints=True)
        if unknown:
            raise InputError("\n".join(unknown))
    return filters
