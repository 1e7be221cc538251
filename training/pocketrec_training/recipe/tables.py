"""Settings of the tables: where they are, their columns and events, and the split."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Len

from pocketrec_bundle.features import LENGTHS
from pocketrec_training.recipe.bounds import FORBID, Positive, Share, SplitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the tables come from: a registered data set, or two files."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    dataset: str = ""
    interactions: str = ""
    items: str = ""
    max_bad_share: Share = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the source's columns; an empty text means the source has none."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    event: str = ""
    value: str = ""
    item_id: str = "item_id"
    title: str = ""
    categories: str = ""
    categories_separator: str = "|"
    price: str = ""
    year: str = ""
    regions: str = ""
    age_rating: str = ""
    timestamp_format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The closed vocabulary of events; a value >= `like_value` turns `default` into "like"."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    default: str = "rating"
    types: Annotated[tuple[str, ...], Len(*LENGTHS["event_types"])] = ("rating", "like")
    like_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How interactions are held out, always by time."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    kind: SplitKind = "leave_last"
    valid_share: Share = 0.1
    test_share: Share = 0.1
    min_user_events: Positive = 5
