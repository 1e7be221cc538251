"""The first sheet of an Excel workbook becomes rows of texts."""

import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import islice

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import Batch
from pocketrec_training.reading.files import InputFile
from pocketrec_training.reading.spec import TableSpec

MAX_BYTES = 4 << 30
"""Of a workbook's parts, decompressed; a full sheet of 20 columns has about 2 GiB."""
_ROWS = 50_000
_EXACT = 2**53

Cell = int | float | str | bool | time | date | datetime | timedelta


def sheet_rows(file: InputFile, spec: TableSpec) -> Iterator[Batch]:
    """Yield the rows of the first sheet that has cells; empty rows are skipped.

    Whole numbers lose the ".0" that Excel stores, dates become ISO 8601.

    Raises:
        TableInvalidError: the workbook is damaged, too large or empty, or `python-calamine` is
            missing.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as err:
        raise TableInvalidError(
            f"{file.name}: Excel files need python-calamine: pip install 'pocketrec[train]', or "
            "save the sheet as .csv."
        ) from err
    _refuse_large(file)
    try:
        with CalamineWorkbook.from_path(str(file.path)) as book:
            for index in range(len(book.sheet_names)):
                sheet = book.get_sheet_by_index(index)
                if sheet.start is not None:
                    yield from _batches(sheet.iter_rows(), sheet.start[0] + 1, file, spec)
                    return
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError) as err:
        raise TableInvalidError(
            f"{file.name}: cannot be read as an Excel workbook ({str(err)[:200]}). Save the sheet "
            "as .csv."
        ) from err
    raise TableInvalidError(f"{file.name}: no sheet has a cell.")


def _refuse_large(file: InputFile) -> None:
    try:
        with zipfile.ZipFile(file.path) as archive:
            n_bytes = sum(each.file_size for each in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise TableInvalidError(f"{file.name}: is damaged or cut off ({err}).") from err
    if n_bytes > MAX_BYTES:
        raise TableInvalidError(
            f"{file.name}: has {n_bytes >> 20} MiB when decompressed, at most {MAX_BYTES >> 20} "
            "MiB are read. Save the sheet as .csv."
        )


def _batches(
    rows: Iterator[list[Cell]], first: int, file: InputFile, spec: TableSpec
) -> Iterator[Batch]:
    """Yield rows; `first` is the number of the first one in the sheet."""
    numbered = enumerate(rows, first)
    names: tuple[str, ...] = ()
    if spec.header:
        _, head = next(numbered, (0, []))
        texts = [_text(cell) or "" for cell in head]
        names = tuple(text.strip() or str(at) for at, text in enumerate(texts, 1))
    while some := list(islice(numbered, _ROWS)):
        names = names or tuple(map(str, range(1, len(some[0][1]) + 1)))
        found = [(number, [_text(cell) for cell in row]) for number, row in some]
        found = [(number, row) for number, row in found if any(row)]
        columns = list(zip(*(row for _, row in found), strict=True)) or [()] * len(names)
        yield Batch(names, columns, [number for number, _ in found])
    if not names:
        raise TableInvalidError(f"{file.name}: the sheet is empty.")


def _text(cell: Cell) -> str | None:
    match cell:
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer() and abs(cell) < _EXACT:
            return str(int(cell))
        case str():
            text = cell.replace("\0", "")
            return text or None
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return str(cell.total_seconds())
        case _:
            return repr(cell)
