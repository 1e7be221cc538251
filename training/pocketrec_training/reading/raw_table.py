"""A table as it was read: every column a text, each row with its place."""

from dataclasses import dataclass, field

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

PLACE, FILE, LINE = "place", "file", "line"
"""Position of a row in the whole table; its file and its line there, from 1."""
BROKEN, TEXT = "broken", "text"
"""Of a line set aside: the reason and the beginning of the line; null for a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    """A table of texts.

    Attributes:
        table: columns `c0`, `c1` and so on with the texts as they are, `v0`, `v1` and so on with
            values, trimmed and null for null words, and those named in this module. Names of the
            source are not used, so that any name is possible, twice too.
        names: the source's names of `c0`, `c1` and so on.
        file: name of the file, folder or glob, for messages.
        key: prefix of the recipe's keys for this table.
        header: whether the names are from the file's first line.
        nested: for each column with objects or lists, the place of the first and its kind.
    """

    table: ir.Table
    names: tuple[str, ...]
    file: str
    key: str = "data"
    header: bool = False
    nested: dict[str, tuple[str, str]] = field(default_factory=dict)

    def text(self, name: str) -> ir.StringValue | None:
        """Return the column of a name as it is, None if the table lacks it; of two, the first."""
        return self.table[f"c{self.names.index(name)}"] if name in self.names else None

    def value(self, name: str) -> ir.StringValue | None:
        """Return the trimmed column of a name, null where a value is missing."""
        return self.table[f"v{self.names.index(name)}"] if name in self.names else None

    def twice(self, name: str) -> bool:
        """Whether two columns have this name."""
        return self.names.count(name) > 1


def with_values(
    connection: Backend, table: ir.Table, n_columns: int, null_values: tuple[str, ...]
) -> ir.Table:
    """Return a view with the columns `v0` and so on beside `c0` and so on.

    A view, because each use of an expression would repeat it in the query, which DuckDB then plans
    for a second.
    """
    words = [word for word in null_values if word]
    values = {}
    for k in range(n_columns):
        text = table[f"c{k}"].strip().nullif("")
        missing = text.isin(words) if words else ibis.literal(False)
        values[f"v{k}"] = ibis.ifelse(missing, ibis.null("string"), text)
    return connection.create_view(ibis.util.gen_name("raw"), table.mutate(**values))
