"""Changes of a catalogue, read from a file: one JSON object, or JSON Lines for many.

JSON is an object of the lists `add`, `change`, `withdraw` and `restore`. JSON Lines (`.jsonl`) has
one change a line, `{"add": {...}}`, `{"change": {...}}`, `{"withdraw": "id"}` or
`{"restore": "id"}`, and is read line by line.
"""

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pocketrec_bundle.disk.files import sha256_file
from pocketrec_bundle.encoding.strict_json import is_integer, is_number
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import MISSING
from pocketrec_bundle.items.audience import MAX_AGE, UNRATED, Audience
from pocketrec_bundle.items.catalogue import MAX_ID, MAX_PRICE
from pocketrec_training.data.dataset import Items, split_categories
from pocketrec_training.monitoring.progress import SHOWN_EVERY, Progress

MAX_JSON_BYTES = 256 << 20
"""Of a JSON file, which is in memory as a whole."""
MAX_LINES_BYTES = 4 << 30
MAX_LINE_BYTES = 1 << 20

_KEYS = {"item_id", "title", "categories", "price", "year", "regions", "age_rating", "features"}
_KINDS = ("add", "change", "withdraw", "restore")

_NO_FEATURES: Mapping[str, Any] = MappingProxyType({})

Entry = tuple[str, str, Any]
"""Where it stands, its kind, its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a change says of an item; None: nothing.

    price and year: -1 = unknown; regions: () = everywhere; age_rating: 255 = unrated; features:
    JSON values by name, not checked yet (`new_features.py`).
    """

    item_id: str
    title: str | None
    categories: tuple[str, ...] | None
    price: float | None
    year: float | None
    regions: tuple[str, ...] | None
    age_rating: int | None
    features: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """New items, new content of known items, ids to withdraw and to bring back.

    add_features: of each new item, as in `Content`; `add` itself has no features yet.
    digest: 8 hex digits of the file's SHA-256, for the release's name.
    """

    path: Path
    digest: str
    add: Items
    add_features: list[Mapping[str, Any]]
    change: list[Content]
    withdraw: list[str]
    restore: list[str]

    def counts(self) -> dict[str, int]:
        """Return how many items each kind of change touches."""
        return {kind: len(getattr(self, kind)) for kind in _KINDS}


def read_changes(path: Path) -> Changes:
    """Read and check a changes file.

    Raises:
        InputError: it is missing, too large, no JSON, or not of the form in `docs/operator.md`.
    """
    try:
        entries = _lines(path) if path.suffix == ".jsonl" else _lists(path)
        return _collect(path, entries)
    except OSError as err:
        raise InputError(f"{path}: cannot be read ({err.strerror or err}).") from err


def _collect(path: Path, entries: Iterator[Entry]) -> Changes:
    ids: list[str] = []
    titles: list[str] = []
    categories: list[tuple[str, ...]] = []
    price, year, ages = array("f"), array("f"), array("B")
    regions: list[tuple[str, ...]] = []
    change: list[Content] = []
    features: list[Mapping[str, Any]] = []
    named: dict[str, list[str]] = {"withdraw": [], "restore": []}
    same: dict[tuple[str, ...], tuple[str, ...]] = {}  # many items share their names
    for where, kind, value in entries:
        if kind in named:
            named[kind].append(_item_id(where, kind, value))
            continue
        found = _content(where, value)
        if kind == "change":
            change.append(found)
            continue
        ids.append(found.item_id)
        features.append(found.features or _NO_FEATURES)
        titles.append(found.item_id if found.title is None else found.title)
        names = found.categories or ()
        categories.append(same.setdefault(names, names))
        price.append(MISSING if found.price is None else found.price)
        year.append(MISSING if found.year is None else found.year)
        places = found.regions or ()
        regions.append(same.setdefault(places, places))
        ages.append(UNRATED if found.age_rating is None else found.age_rating)
    return Changes(
        path=path,
        digest=sha256_file(path)[:8],
        add=Items(
            ids=ids,
            titles=titles,
            categories=categories,
            price=np.array(price, np.float32),
            year=np.array(year, np.float32),
            audience=Audience(regions=regions, age_ratings=np.array(ages, np.uint8)),
        ),
        add_features=features,
        change=change,
        **named,
    )


def _lists(path: Path) -> Iterator[Entry]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InputError(f"{path}: larger than {MAX_JSON_BYTES} bytes; use JSON Lines (.jsonl).")
    value = _parsed(str(path), path.read_bytes())
    if not isinstance(value, dict) or not value or value.keys() - set(_KINDS):
        raise InputError(f"{path}: expected an object with some of {', '.join(_KINDS)}.")
    for kind in _KINDS:
        entries = value.get(kind, [])
        if not isinstance(entries, list):
            raise InputError(f"{path}: {kind} must be a list.")
        for place, one in enumerate(entries, 1):
            yield f"{path}: {kind}, entry {place}", kind, one


def _lines(path: Path) -> Iterator[Entry]:
    size = path.stat().st_size
    if size > MAX_LINES_BYTES:
        raise InputError(f"{path}: larger than {MAX_LINES_BYTES} bytes; use several releases.")
    with path.open("rb") as stream, Progress("changes, MiB", size >> 20) as bar:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise InputError(f"{where}: longer than {MAX_LINE_BYTES} bytes.")
            if number % SHOWN_EVERY == 0:
                bar.advance(stream.tell() >> 20)
            if not line.strip():
                continue
            value = _parsed(where, line)
            if not isinstance(value, dict) or len(value) != 1 or value.keys() - set(_KINDS):
                raise InputError(f"{where}: expected an object with one of {', '.join(_KINDS)}.")
            ((kind, one),) = value.items()
            yield where, kind, one
        bar.advance(size >> 20)


def _parsed(where: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{where}: cannot be read as JSON ({err}).") from err


def _item_id(where: str, kind: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {kind} takes an item id as a text, not {value!r:.200}.")
    return value


def _content(where: str, one: Any) -> Content:
    """Check an item and bring it to the form in which a release can give it back."""
    if not isinstance(one, dict) or one.keys() - _KEYS or not _fits(one):
        raise InputError(f"{where}: not an item with {', '.join(sorted(_KEYS))}: {one!r:.200}")
    if len(one["item_id"]) > MAX_ID:
        raise InputError(
            f"{where}: an item_id of {len(one['item_id'])} characters: {one['item_id']!r:.60}. At "
            f"most {MAX_ID} are allowed; shorten it."
        )
    age = one.get("age_rating")
    return Content(
        item_id=one["item_id"],
        title=one.get("title"),
        categories=_names(one.get("categories")),
        price=_number(one["price"]) if "price" in one else None,
        year=float(int(_number(one["year"]))) if "year" in one else None,
        regions=_names(one.get("regions")),
        age_rating=(UNRATED if age is None else age) if "age_rating" in one else None,
        features=_compact(one.get("features")),
    )


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    """Tables join names by "|", so that one with that inside is two everywhere."""
    return None if names is None else tuple(p for name in names for p in split_categories(name))


def _compact(features: dict[str, Any] | None) -> Mapping[str, Any] | None:
    """Return features with their vectors as arrays: lists of a million items take 6 times that."""
    if features is None:
        return None
    return {
        name: array("f", value) if isinstance(value, list) and all(map(is_number, value)) else value
        for name, value in features.items()
    }


def _fits(one: dict[str, Any]) -> bool:
    lists = one.get("categories", []), one.get("regions", [])
    age = one.get("age_rating")
    numbers = (one.get("price"), one.get("year"))
    texts = [one.get("item_id"), one.get("title", "")]
    return (
        bool(texts[0])
        and all(isinstance(names, list) for names in lists)
        and all(isinstance(t, str) and _is_whole(t) for t in chain(texts, *lists))
        and all(n is None or _is_number(n) for n in numbers)
        and (age is None or is_integer(age, 0, MAX_AGE))
        and isinstance(one.get("features", {}), dict)
    )


def _is_whole(text: str) -> bool:
    """Whether a text has whole letters: an escape may be half of one, which no UTF-8 holds."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_PRICE


def _number(value: float | None) -> float:
    return MISSING if value is None or value < 0 else float(value)
