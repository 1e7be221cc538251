"""Facts of one column of a sample: how many values, of which kind, how often they repeat."""

import math
import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from pocketrec_training.table_profile.sample import TableSample
from pocketrec_training.table_profile.times import TimeForm, recognise_time

NULL_WORDS = frozenset({"", "null", "none", "nan", "na", "n/a", "\\n"})
"""Lower-cased texts that mean "no value" in ids, times and numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """Facts of one column.

    Attributes:
        name: in the file.
        n: values in the sample that are not empty.
        empty_share: share of the sample's rows without a value.
        counts: value -> how often.
        numeric_share: share of the values that are finite numbers.
        low, high: of the numbers; nan without numbers.
        whole: whether all numbers are integers, also written as `1.0`.
        words: median number of words of the distinct values.
        length: median number of characters of the distinct values.
        rising: whether the values are numbers that grow from row to row, as row numbers do.
        is_list, is_object: of JSON or Parquet.
        time: how the values can be read as times; None if they cannot.
    """

    name: str
    n: int
    empty_share: float
    counts: Counter[str] = field(repr=False)
    numeric_share: float
    low: float
    high: float
    whole: bool
    words: float
    length: float
    rising: bool
    is_list: bool
    is_object: bool
    time: TimeForm | None

    @property
    def n_distinct(self) -> int:
        """Number of distinct values."""
        return len(self.counts)

    @property
    def is_unique(self) -> bool:
        """Whether nearly every row has a value of its own."""
        return self.n > 1 and self.n_distinct >= 0.98 * self.n

    @property
    def is_numeric(self) -> bool:
        """Whether nearly all values are numbers."""
        return self.numeric_share >= 0.95

    @property
    def samples(self) -> list[str]:
        """The first three distinct values, shortened."""
        first = [value for _, value in zip(range(3), self.counts, strict=False)]
        return [each if len(each) <= 24 else each[:21] + "..." for each in first]


def profile_columns(sample: TableSample) -> list[ColumnProfile]:
    """Return the facts of each column, in the order of the file."""
    return [_profile(sample, name, values) for name, values in sample.columns.items()]


def _profile(sample: TableSample, name: str, values: list[str]) -> ColumnProfile:
    counts = Counter(values)
    n_rows = len(values)
    for each in [one for one in counts if one.lower() in NULL_WORDS]:
        del counts[each]
    n = counts.total()
    numbers = _numbers(counts)
    n_numeric = sum(counts[value] for value in numbers)
    some = list(counts)[:2000]
    finite = np.fromiter(numbers.values(), np.float64, len(numbers))
    numeric_share = n_numeric / n if n else 0.0
    is_flat = name not in sample.lists | sample.objects
    return ColumnProfile(
        name=name,
        n=n,
        empty_share=1 - n / n_rows if n_rows else 0.0,
        counts=counts,
        numeric_share=numeric_share,
        low=float(finite.min()) if len(finite) else math.nan,
        high=float(finite.max()) if len(finite) else math.nan,
        whole=bool(len(finite)) and bool((finite == np.floor(finite)).all()),
        words=float(np.median([len(each.split()) for each in some] or [0])),
        length=float(np.median([len(each) for each in some] or [0])),
        rising=len(numbers) == n_rows and bool((np.diff(finite) > 0).all()),
        is_list=name in sample.lists,
        is_object=name in sample.objects,
        time=recognise_time(name, counts, numbers) if n and is_flat else None,
    )


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def _numbers(counts: Counter[str]) -> dict[str, float]:
    """Return the distinct values that are numbers, in the order of the rows."""
    found = {}
    for value in counts:
        if _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
            found[value] = number
    return found
