"""The four tables of an export: their columns, and how an event becomes a row.

`docs/server/events.md` is the contract; a test compares it with `TABLES`. A value of the wrong form
is null in its column and stays in `context`, as does every key without a column of its own.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, matches

if TYPE_CHECKING:
    import pyarrow as pa

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,58}")
"""Form of a request's id; an impression's id appends a point and the place."""
_IMPRESSION_ID = re.compile(rf"({REQUEST_ID.pattern})\.([1-9][0-9]{{0,3}})")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MAX_INT = (1 << 31) - 1
_MAX_TEXT = 256

Row = Mapping[str, Any]
"""Columns of a stored event: id, item_id, event, value, ts, and context as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: of the column.
        type: name of its Arrow type.
        nullable: whether it may be null.
    """

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """The events of one kind.

    Attributes:
        kind: of the events.
        columns: in the order of the files.
        values: returns the values of a stored event by column, all but `user_id`.
    """

    kind: str
    columns: tuple[Column, ...]
    values: Callable[[Row], dict[str, Any]]

    @property
    def folder(self) -> str:
        """Name of the table's folder."""
        return f"{self.kind}s"

    def schema(self) -> "pa.Schema":
        """Return the Arrow schema.

        Raises:
            ModuleNotFoundError: pyarrow is not installed; the message has the command.
        """
        types = _arrow_types()
        return types["schema"](
            [(each.name, types[each.type], each.nullable) for each in self.columns]
        )


def _arrow_types() -> dict[str, Any]:
    try:
        import pyarrow as pa
    except ModuleNotFoundError as err:
        if err.name != "pyarrow":
            raise
        raise ModuleNotFoundError(
            "the export needs pyarrow, which is not installed."
            " Install it with: pip install 'pocketrec[events]'",
            name="pyarrow",
        ) from err
    return {
        "schema": lambda fields: pa.schema([pa.field(*each) for each in fields]),
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "list<string>": pa.list_(pa.string()),
        "map<string, string>": pa.map_(pa.string(), pa.string()),
    }


class _Context:
    """The context of one event; each key that fits its column is taken out."""

    def __init__(self, text: str) -> None:
        self._left: dict[str, Any] = json.loads(text)

    def take(self, key: str, fits: Callable[[Any], bool]) -> Any:
        """Return and remove the value of a key if it has the right form; else None."""
        return self._left.pop(key) if fits(self._left.get(key)) else None

    def rest(self) -> str:
        """Return what was not taken, as JSON."""
        return json.dumps(self._left, separators=(",", ":"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT


def _is_count(value: Any) -> bool:
    return is_integer(value, 0, _MAX_INT)


def _is_place(value: Any) -> bool:
    return is_integer(value, 1, _MAX_INT)


def _is_finite(value: Any) -> bool:
    return is_number(value, -1e300, 1e300)


def _real(value: int | float | None) -> float | None:
    """Return a number as float: Arrow refuses integers above 2**53 in a column of doubles."""
    return None if value is None else float(value)


def _is_probability(value: Any) -> bool:
    return is_number(value, 0, 1)


def _is_currency(value: Any) -> bool:
    return matches(_CURRENCY, value)


def _is_request(value: Any) -> bool:
    return matches(REQUEST_ID, value)


def are_arms(value: Any) -> bool:
    """Whether a value is an object of arms by experiment, both texts."""
    return isinstance(value, dict) and all(map(_is_text, (*value, *value.values())))


def _are_codes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _interaction(row: Row) -> dict[str, Any]:
    context = _Context(row["context"])
    clock = context.take("clock_utc", lambda value: is_integer(value, 0, row["ts"]))
    return {
        **{name: row[name] for name in ("item_id", "event", "value")},
        "ts": row["ts"] if clock is None else clock,
        "timestamp": row["ts"],
        "currency": context.take("currency", _is_currency),
        "request_id": context.take("request", _is_request),
        "place": context.take("place", _is_place),
        "session_id": context.take("session", _is_text),
        "context": context.rest(),
    }


def _impression(row: Row) -> dict[str, Any]:
    context = _Context(row["context"])
    place = context.take("place", _is_place)
    request = None
    if (made := _IMPRESSION_ID.fullmatch(row["id"])) is not None:
        request, place = made[1], int(made[2])
    return {
        "request_id": request,
        "place": place,
        "item_id": row["item_id"],
        "ts": row["ts"],
        "score": _real(context.take("score", _is_finite)),
        "propensity": _real(context.take("propensity", _is_probability)),
        "sponsored": context.take("sponsored", _is_text),
        "source": context.take("source", _is_text),
        "page": context.take("page", _is_place),
        "paging": context.take("session", _is_text),
        "context": context.rest(),
    }


def _request(row: Row) -> dict[str, Any]:
    context = _Context(row["context"])
    return {
        "request_id": row["id"],
        "ts": row["ts"],
        "release": context.take("release", _is_text),
        "scene": row["event"],
        "source": context.take("source", _is_text),
        "page": context.take("page", _is_place),
        "paging": context.take("paging", _is_text),
        "k": context.take("k", _is_count),
        "ms": _real(context.take("ms", _is_finite)),
        "session_id": context.take("session", _is_text),
        "arms": sorted((context.take("arms", are_arms) or {}).items()),
        "faults": context.take("faults", _are_codes) or [],
        "context": context.rest(),
    }


def _exposure(row: Row) -> dict[str, Any]:
    context = _Context(row["context"])
    return {
        "experiment": row["event"],
        "arm": context.take("arm", _is_text),
        "salt": context.take("salt", _is_text),
        "forced": bool(context.take("forced", lambda value: isinstance(value, bool))),
        "ts": row["ts"],
        "app_version": context.take("app_version", _is_text),
        "device_class": context.take("device_class", _is_text),
        "context": context.rest(),
    }


def _columns(**types: str) -> tuple[Column, ...]:
    """Return columns; a type that ends in "?" may be null."""
    return tuple(
        Column(name=name, type=of.removesuffix("?"), nullable=of.endswith("?"))
        for name, of in types.items()
    )


TABLES = (
    ExportTable(
        kind="interaction",
        columns=_columns(
            user_id="string",
            item_id="string",
            event="string",
            value="double?",
            timestamp="int64",
            context="string",
            ts="int64",
            currency="string?",
            request_id="string?",
            place="int32?",
            session_id="string?",
        ),
        values=_interaction,
    ),
    ExportTable(
        kind="impression",
        columns=_columns(
            user_id="string",
            request_id="string?",
            place="int32?",
            item_id="string",
            ts="int64",
            score="double?",
            propensity="double?",
            sponsored="string?",
            source="string?",
            page="int32?",
            paging="string?",
            context="string",
        ),
        values=_impression,
    ),
    ExportTable(
        kind="request",
        columns=_columns(
            user_id="string",
            request_id="string",
            ts="int64",
            release="string?",
            scene="string",
            source="string?",
            page="int32?",
            paging="string?",
            k="int32?",
            ms="double?",
            session_id="string?",
            arms="map<string, string>",
            faults="list<string>",
            context="string",
        ),
        values=_request,
    ),
    ExportTable(
        kind="exposure",
        columns=_columns(
            user_id="string",
            experiment="string",
            arm="string",
            salt="string",
            forced="bool",
            ts="int64",
            app_version="string?",
            device_class="string?",
            context="string",
        ),
        values=_exposure,
    ),
)
"""All tables; the columns of interactions begin with those of format 1."""
