"""Files with several items in a line become one row an item."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import Batch, Broken, sample
from pocketrec_training.reading.decode import Block

_SHOWN = re.compile(r"\S+-[01](?: \S+-[01])*")
_LOOK = 500


def user_item_rows(blocks: Iterator[Block], file: str, separator: str) -> Iterator[Batch]:
    """Yield the columns `1`, a user, and `2`, an item, of lines with a user and all of his items.

    A line with a user only has no rows. LightGCN's files have this form.

    Raises:
        TableInvalidError: the file is empty, or no line has an item.
    """
    n_rows = 0
    for block in blocks:
        users: list[str] = []
        items: list[str] = []
        numbers: list[int] = []
        for number, line in enumerate(block.lines, block.first):
            user, *some = (line.split(separator) if separator.strip() else line.split()) or [""]
            if "\0" in line:
                block.broken.append(Broken(number, "a NUL byte", sample(line)))
                continue
            users += [user] * len(some)
            items += some
            numbers += [number] * len(some)
        n_rows += len(items)
        yield Batch(("1", "2"), [users, items], numbers, block.broken)
    if not n_rows:
        raise TableInvalidError(f"{file}: no line has a user and an item, as in user_items.")


def chosen_rows(batches: Iterator[Batch], file: str, key: str) -> Iterator[Batch]:
    """Repeat each row for each chosen item of its impressions.

    Impressions are the column whose values list the items shown, each with "-1" if it was chosen
    and "-0" if not, as in MIND.

    Raises:
        TableInvalidError: no column has this form.
    """
    place: int | None = None
    for batch in batches:
        if place is None and len(batch.lines):
            place = next((k for k, c in enumerate(batch.columns) if _are_shown(c)), None)
            if place is None:
                raise TableInvalidError(
                    f"{file}: no column has impressions such as `N1-1 N2-0`. Remove {key}.layout."
                )
        yield batch if place is None else _one_item_a_row(batch, place)


def _are_shown(column: Sequence[str | None]) -> bool:
    some = list(islice(filter(None, column), _LOOK))
    return bool(some) and sum(_SHOWN.fullmatch(v) is not None for v in some) >= 0.9 * len(some)


def _one_item_a_row(batch: Batch, place: int) -> Batch:
    chosen: list[list[str]] = []
    broken = list(batch.broken)
    for value, line in zip(batch.columns[place], batch.lines, strict=True):
        if value and not _SHOWN.fullmatch(value):
            broken.append(Broken(line, "impressions without -0 and -1", sample(value)))
            chosen.append([])
        else:
            chosen.append([each[:-2] for each in (value or "").split() if each.endswith("-1")])
    columns: list[Sequence[str | None]] = [
        [value for value, items in zip(column, chosen, strict=True) for _ in items]
        for column in batch.columns
    ]
    columns[place] = list(chain.from_iterable(chosen))
    lines = [line for line, items in zip(batch.lines, chosen, strict=True) for _ in items]
    return Batch(batch.names, columns, lines, broken)
