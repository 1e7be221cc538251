"""How one table of a recipe is written: the recipe's keys for it, checked."""

import codecs
from dataclasses import dataclass
from typing import Literal, get_args

from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.tables import (
    NULL_VALUES,
    DataConfig,
    Quote,
    TableFile,
    TableLayout,
)

TableName = Literal["interactions", "items", "users"]
TABLES: tuple[TableName, ...] = get_args(TableName)
MAX_SEPARATOR = 8
"""Characters."""
_NOT_TEXT = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf_7")
"""Python's codecs that do not decode a file line by line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """Keys of the recipe that say how a table's file is written.

    Attributes:
        file: path, folder or glob as in the recipe; empty: the recipe has no such table.
        key: prefix of the keys in messages, `data` or `data.items`.
        separator: empty: found by the file's ending and content.
        quote: "auto", "" for none, or a double quote.
        header: whether the first line names the columns.
        encoding: Python's name of a text encoding.
        null_values: texts that stand for a missing id, time or number.
        layout: "rows"; "user_items": each line has a user and all items of this user; or
            "impressions": a column lists the items shown, each with "-1" if it was chosen.
    """

    file: str
    key: str = "data"
    separator: str = ""
    quote: Quote = "auto"
    header: bool = True
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = NULL_VALUES
    layout: TableLayout = "rows"


def table_spec(data: DataConfig, table: TableName) -> TableSpec:
    """Return how a table is written: its own settings, then those of `[data]`.

    Raises:
        RecipeInvalidError: the separator or the encoding cannot be used.
    """
    given: str | TableFile = getattr(data, table)
    own = given if isinstance(given, TableFile) else TableFile(file=given)
    spec = TableSpec(
        file=own.file,
        key=f"data.{table}" if isinstance(given, TableFile) else "data",
        separator=data.separator if own.separator is None else own.separator,
        quote=data.quote if own.quote is None else own.quote,
        header=data.header if own.header is None else own.header,
        encoding=data.encoding if own.encoding is None else own.encoding,
        null_values=data.null_values if own.null_values is None else own.null_values,
        layout=data.layout if own.layout is None else own.layout,
    )
    _check(spec)
    return spec


def _check(spec: TableSpec) -> None:
    wrong = [c for c in spec.separator if c in '\r\n"\0' or (c.isalnum())]
    if wrong or len(spec.separator) > MAX_SEPARATOR:
        raise RecipeInvalidError(
            f"{spec.key}.separator: {spec.separator!r} cannot separate fields. Use 1 to "
            f'{MAX_SEPARATOR} characters without letters, digits, quotes and line ends, e.g. ";" '
            'or "::".'
        )
    try:
        found = codecs.lookup(spec.encoding)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding or found.name.replace("-", "_") in _NOT_TEXT:
        raise RecipeInvalidError(
            f'{spec.key}.encoding: {spec.encoding!r} is not known. Use e.g. "utf-8", "cp1252" '
            '(Windows, Western Europe), "latin-1", "utf-16" or "shift_jis".'
        )
