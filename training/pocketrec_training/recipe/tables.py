"""Settings of the tables: where they are, their columns and events, and the split."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import StringConstraints

from pocketrec_bundle.declared import Feature
from pocketrec_bundle.features import LENGTHS
from pocketrec_training.recipe.bounds import FORBID, Positive, Share, SplitKind, TimeUnit

TableLayout = Literal["rows", "user_items", "impressions"]
Quote = Literal["auto", "", '"']
NULL_VALUES = ("", "NULL", "null", "NaN", "nan", "None", "NA", "N/A", "\\N")
"""Texts that stand for a missing id, time or number in common exports; never in titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One table's file and how it is written; None means as in `DataConfig`."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    file: str
    separator: str | None = None
    quote: Quote | None = None
    header: bool | None = None
    encoding: str | None = None
    null_values: tuple[str, ...] | None = None
    layout: TableLayout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the tables come from, a registered data set or files, and how the files are written.

    Attributes:
        interactions: a file, a folder or a glob; or a `TableFile` with settings of its own.
        separator: empty: by the file's ending and content.
        quote: "auto": double quotes in comma and semicolon files, whole quoted fields in others.
        header: whether the first line names the columns; without, they are "1", "2" and so on.
        above: column of the interactions to a number. Rows whose number is not above it are left
            out, such as returns, which have a quantity below 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    dataset: str = ""
    interactions: str | TableFile = ""
    items: str | TableFile = ""
    users: str | TableFile = ""
    separator: str = ""
    quote: Quote = "auto"
    header: bool = True
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = NULL_VALUES
    layout: TableLayout = "rows"
    above: dict[str, float] = field(default_factory=dict)
    max_bad_share: Share = 0.01
    allow_unmatched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the source's columns; an empty text means the source has none.

    Attributes:
        user_id: of the table of users; empty: as `user`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    event: str = ""
    value: str = ""
    item_id: str = "item_id"
    user_id: str = ""
    title: str = ""
    categories: str = ""
    categories_separator: str = "|"
    price: str = ""
    year: str = ""
    regions: str = ""
    age_rating: str = ""
    timestamp_unit: TimeUnit = "auto"
    timestamp_format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventValue:
    """What the number of an event type is.

    Attributes:
        value: an amount of money, seconds, a rating, or a share 0..1.
        currency: of amounts without a currency of their own, ISO 4217, such as "GBP".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    value: Literal["amount", "seconds", "rating", "share"]
    currency: Annotated[str, StringConstraints(pattern="^([A-Z]{3})?$")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The closed vocabulary of events; a value >= `like_value` turns `default` into "like".

    Attributes:
        values: by event type; a recipe writes it as `[events.NAME]`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    default: str = "rating"
    types: Annotated[tuple[str, ...], Len(*LENGTHS["event_types"])] = ("rating", "like")
    like_value: float | None = None
    values: dict[str, EventValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Declared features: columns beside title, categories, price and year.

    Attributes:
        items: by name, from the table of items.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    items: dict[str, Feature] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How interactions are held out: by time, by a seeded draw, or as somebody else did it.

    Attributes:
        column: for "given", the column of the interactions that says train, valid or test.
        valid, test: for "given", files of the held-out interactions, written as
            `data.interactions`, which then has the training interactions alone. Without `valid`,
            and without such rows, validation is drawn from training.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    kind: SplitKind = "leave_last"
    valid_share: Share = 0.1
    test_share: Share = 0.1
    min_user_events: Positive = 5
    column: str = ""
    valid: str = ""
    test: str = ""
