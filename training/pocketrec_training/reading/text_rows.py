"""Lines of a text table become rows of fields; a damaged line costs its row, no more.

Whole blocks are split at once. Where a block does not come out even, its lines are looked at one
by one, which gives the line number and the reason.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, repeat

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import Batch, Broken, sample
from pocketrec_training.reading.decode import Block
from pocketrec_training.reading.fields import Fault, split_plain, split_record
from pocketrec_training.reading.separator import separator_of
from pocketrec_training.reading.spec import TableSpec

MAX_COLUMNS = 2000
MAX_RECORD_LINES = 10_000
MAX_RECORD = 1 << 20
"""Lines and characters of a record whose quoted field has line ends; beyond, a quote is open."""
_UNIT = "\x1f"
_LOOK = 100
"""Rows that are looked at before the first batch."""


class TextRows:
    """Reads the blocks of one file.

    Attributes:
        names: of the columns, once the first block is read.
    """

    def __init__(self, spec: TableSpec, file: str, ending: str) -> None:
        self.spec, self.file, self.ending = spec, file, ending
        self.names: tuple[str, ...] = ()
        self.separator = ""
        self.quoted = False
        self._open: list[str] = []
        self._opened = 0

    def batches(self, blocks: Iterator[Block]) -> Iterator[Batch]:
        """Yield the rows of all blocks.

        Raises:
            TableInvalidError: the file is empty, a quote does not close, the file is cut off, or
                its header does not fit the rows.
        """
        for block in blocks:
            if not self.names:
                if not any(line.strip() for line in block.lines):
                    if block.ends:
                        raise TableInvalidError(f"{self.file}: is empty.")
                    continue
                self._begin(block)
            yield self._batch(block)

    def _begin(self, block: Block) -> None:
        """Find separator and names; the header's lines leave the block."""
        lines = block.lines
        at = next(k for k, line in enumerate(lines) if line.strip())
        if lines[at].lower().startswith("sep=") and len(lines[at]) == 5 and len(lines) > at + 1:
            self.separator, at = lines[at][4], at + 1  # Excel's note of the separator
        del lines[:at]
        block.first += at
        spec = self.spec
        chosen = spec.separator or self.separator
        self.separator = chosen or separator_of(lines, self.ending, header=spec.header)
        self.quoted = spec.quote == '"' or (spec.quote == "auto" and self.separator in (",", ";"))
        if spec.header:
            record, used = self._first_record(lines)
            del lines[:used]
            block.first += used
        look = self._rows(islice(lines, _LOOK))
        widths = Counter(map(len, look))
        width = widths.most_common(1)[0][0] if widths else 1
        if spec.header:
            while len(record) > width and not record[-1].strip():
                record.pop()  # separators after the last name that the rows do not have
            self.names = tuple(field.strip() or str(at) for at, field in enumerate(record, 1))
        else:
            self.names = tuple(map(str, range(1, width + 1)))
        if len(self.names) > MAX_COLUMNS:
            raise TableInvalidError(f"{self.file}: has more than {MAX_COLUMNS} columns.")
        self._refuse_foreign_header(widths, look)

    def _first_record(self, lines: list[str]) -> tuple[list[str], int]:
        for used in range(1, min(len(lines), _LOOK) + 1):
            found = self._split("\n".join(lines[:used]))
            if found is Fault.OPEN:
                continue
            if isinstance(found, Fault):
                break
            return found, used
        raise TableInvalidError(
            f"{self.file}: the header cannot be read: {sample(lines[0])}. If its quotes are part "
            f'of the names, set {self.spec.key}.quote = "".'
        )

    def _refuse_foreign_header(self, widths: Counter[int], look: list[list[str]]) -> None:
        if not widths:
            return
        width, n = widths.most_common(1)[0]
        expected = len(self.names)
        if width == expected or 2 * n <= len(look) or n < 2:
            return
        row = next(row for row in look if len(row) == width)
        if width > expected and not any("".join(row[expected:]) for row in look):
            return
        raise TableInvalidError(
            f"{self.file}: the header has {expected} names ({sample(', '.join(self.names))}), but "
            f"the lines after it have {width} fields, e.g. {sample(' | '.join(row))}. Mend the "
            f"header, or set {self.spec.key}.separator or {self.spec.key}.header."
        )

    def _split(self, record: str) -> list[str] | Fault:
        if self.separator == " ":
            return record.split()
        if self.quoted:
            return split_record(record, self.separator)
        if '"' in record and self.spec.quote == "auto":
            return split_plain(record, self.separator)
        return record.split(self.separator)

    def _rows(self, lines: Iterator[str]) -> list[list[str]]:
        """Split some lines, damaged ones left out, to learn the number of fields."""
        rows: list[list[str]] = []
        record = ""
        for line in lines:
            record = f"{record}\n{line}" if record else line
            found = self._split(record) if record.strip() else None
            if found is Fault.OPEN:
                continue
            record = ""
            if isinstance(found, list):
                rows.append(found)
        return rows

    def _batch(self, block: Block) -> Batch:
        columns = None if self._open or block.broken else self._all_at_once(block.lines)
        if columns is None:
            return self._line_by_line(block)
        return Batch(self.names, columns, range(block.first, block.first + len(block.lines)))

    def _all_at_once(self, lines: list[str]) -> Sequence[Sequence[str]] | None:
        """Return columns with a row for each line, or None if a line needs a closer look."""
        n, separator = len(self.names), self.separator
        # A line of empty fields is blank: no line with n fields is shorter.
        if not lines or min(map(len, lines)) <= (n - 1) * len(separator):
            return None if lines else self._no_columns()
        text = "\n".join(lines)
        if "\0" in text or separator == " ":
            return None
        if '"' not in text or self.spec.quote == "":
            return _columns_of(text, lines, separator, n)
        if not self.quoted or len(separator) > 1:
            return None
        try:
            rows = list(csv.reader(lines, delimiter=separator, strict=True))
        except csv.Error:
            return None
        if len(rows) != len(lines) or {*map(len, rows)} != {n}:
            return None
        return list(zip(*rows, strict=True))

    def _no_columns(self) -> list[tuple[str, ...]]:
        return [() for _ in self.names]

    def _line_by_line(self, block: Block) -> Batch:
        rows: list[list[str]] = []
        numbers: list[int] = []
        broken = block.broken
        last = block.first + len(block.lines) - 1
        for at, line in enumerate(block.lines, block.first):
            number = self._opened or at
            found = self._continued(line) if self._open else self._begun(line, at)
            if found is None:
                continue
            reason = self._fault(found, line)
            if not reason:
                assert not isinstance(found, Fault)
                row = found[: len(self.names)]
                if any(row):
                    rows.append(row)
                    numbers.append(number)
                continue
            if block.ends and block.cut and number == last and _too_short(found, self.names):
                raise TableInvalidError(
                    f"{self.file}:{number}: the file ends within this line: {sample(line)}. It is "
                    "cut off. Get the whole file, or delete this line."
                )
            broken.append(Broken(number, reason, sample(line)))
        if block.ends and self._open:
            raise self._open_quote()
        return Batch(
            self.names, list(zip(*rows, strict=True)) or self._no_columns(), numbers, broken
        )

    def _begun(self, line: str, number: int) -> list[str] | Fault | None:
        """Split a line that begins a record; None if it is blank or leaves a quote open."""
        found = self._split(line) if line.strip() else None
        if found is Fault.OPEN:
            self._open, self._opened = [line], number
            return None
        return found

    def _continued(self, line: str) -> list[str] | None:
        """Add a line to the open record; its fields once it is complete."""
        self._open.append(line)
        if len(self._open) > MAX_RECORD_LINES:
            raise self._open_quote()
        if '"' not in line:
            return None
        record = "\n".join(self._open)
        if len(record) > MAX_RECORD:
            raise self._open_quote()
        found = self._split(record)
        if found is Fault.OPEN:
            return None
        if self._fault(found, record):
            raise self._open_quote()
        assert not isinstance(found, Fault)
        self._open, self._opened = [], 0
        return found

    def _fault(self, found: list[str] | Fault, record: str) -> str:
        """Say why a record is not a row; empty if it is one."""
        if isinstance(found, Fault):
            return found.value
        if "\0" in record:
            return "a NUL byte"
        n = len(self.names)
        # Spreadsheets write separators after the last column.
        if len(found) == n or (len(found) > n and not any(found[n:])):
            return ""
        return f"{len(found)} fields instead of {n}"

    def _open_quote(self) -> TableInvalidError:
        return TableInvalidError(
            f"{self.file}:{self._opened}: a quote opens in this line and does not close as it "
            f"should: {sample(self._open[0])}. Mend the line; if quotes in this file are part of "
            f'the texts, set {self.spec.key}.quote = "".'
        )


def _columns_of(text: str, lines: list[str], separator: str, n: int) -> list[list[str]] | None:
    """Split the text of all lines at once: two times faster than line by line."""
    if len(separator) > 1:
        if _UNIT in text:
            return None
        text, separator = text.replace(separator, _UNIT), _UNIT
        lines = text.split("\n")
    if {*map(str.count, lines, repeat(separator))} != {n - 1}:
        return None
    fields = text.replace("\n", separator).split(separator)
    return [fields[k::n] for k in range(n)]


def _too_short(found: list[str] | Fault, names: tuple[str, ...]) -> bool:
    return isinstance(found, list) and len(found) < len(names)
