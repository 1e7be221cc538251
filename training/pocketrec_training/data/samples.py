"""Values of a raw column, quoted in messages with the line where they stand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ibis.expr import types as ir

from pocketrec_bundle.encoding.strict_json import shown
from pocketrec_training.reading.raw_table import LINE, PLACE

N_SAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A raw table, one of its columns as trimmed text, and the name of its file."""

    table: ir.Table
    text: ir.StringColumn
    file: str

    def values(self, condition: ir.BooleanValue) -> list[str]:
        """Return the first values that meet a condition, at most three."""
        return [row["text"] for row in self._rows(condition)]

    def of(
        self,
        condition: ir.BooleanValue,
        read: ir.Value | None = None,
        show: Callable[[int | None], str] = lambda _: "",
    ) -> str:
        """Quote the first values that meet a condition.

        Args:
            condition: over the table.
            read: what a value was read as.
            show: turns it into text.

        Returns:
            Text such as "'2019' (line 2, read as 1970-01-01 00:33)".
        """
        parts = []
        for row in self._rows(condition, read):
            what = ", ".join(
                part for part in (f"line {row['line']}", show(row.get("read"))) if part
            )
            parts.append(f"{shown(row['text'])} ({what})")
        return ", ".join(parts)

    def _rows(
        self, condition: ir.BooleanValue, read: ir.Value | None = None
    ) -> list[dict[str, Any]]:
        """Return text, first line and what was read, of different values, first lines first."""
        more = {} if read is None else {"read": read}
        places = {"place": self.table[PLACE], "line": self.table[LINE]}
        chosen = self.table.select(text=self.text, keep=condition, **places, **more)
        kept = chosen.filter(chosen["keep"])
        first = kept.group_by("text", *more).aggregate(
            place=kept["place"].min(), line=kept["line"].argmin(kept["place"])
        )
        return list(first.order_by("place").limit(N_SAMPLES).to_pyarrow().to_pylist())
