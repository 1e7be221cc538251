"""Rows of a table of purchases that look like returns: a quantity of 0 or less."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_training.table_profile import names
from pocketrec_training.table_profile.columns import ColumnProfile
from pocketrec_training.table_profile.tables import TableProfile

MOST = 0.5
"""Share of rows above which a number of 0 or less has another meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What looks like returns.

    Attributes:
        column: of the quantity.
        rows: of the sample, whether it is 0 or less; bool [n].
        invoices: column of invoices, some of which begin with "C"; empty without.
        n_cancelled: rows with such an invoice and a quantity of 0 or less.
    """

    column: str
    rows: NDArray[np.bool_]
    invoices: str
    n_cancelled: int

    @property
    def n(self) -> int:
        """Number of such rows in the sample."""
        return int(self.rows.sum())

    def sentence(self) -> str:
        """Return what `pocketrec init` prints."""
        told = f"{self.n:,} rows look like returns: {self.column} is 0 or less"
        if self.n_cancelled:
            told += f"; {self.n_cancelled:,} of them have an {self.invoices} that begins with C"
        return f"{told}. data.above leaves them out"


def find_returns(log: TableProfile) -> Returns | None:
    """Return the rows of the sample that look like returns; None without any."""
    column = _quantity(log.columns)
    if column is None:
        return None
    is_low = {value: float(value) <= 0 for value in column.counts if _is_number(value)}
    rows = np.array([is_low.get(value, False) for value in log.sample.columns[column.name]])
    if not 0 < rows.mean() < MOST:
        return None
    name = next((c.name for c in log.columns if names.is_named(c.name, names.INVOICE)), "")
    cancelled = [bool(re.match(r"[Cc]\d", value)) for value in log.sample.columns.get(name, [])]
    return Returns(
        column=column.name,
        rows=rows,
        invoices=name if any(cancelled) else "",
        n_cancelled=int((rows & np.array(cancelled)).sum()) if cancelled else 0,
    )


def _quantity(columns: Sequence[ColumnProfile]) -> ColumnProfile | None:
    for column in columns:
        if names.is_named(column.name, names.QUANTITY) and column.is_numeric and column.low < 0:
            return column
    return None


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
