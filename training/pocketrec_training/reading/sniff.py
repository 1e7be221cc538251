r"""Recognise how a text table is written: encoding, separator, quotes, header.

All functions are pure: they see the first bytes or lines of a file, never the file.

>>> sniff_table(b"1::10::4\n2::11::5\n")
Dialect(encoding='utf-8', separator='::', quote='', header=False)
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

SEPARATORS = ("\t", "::", ",", ";", "|", " ")
"""Of two that fit equally well, the first is chosen; a blank only if no other fits."""
LINES = 300
"""Lines that decide."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FITS = 0.9
"""Share of lines with the same number of fields."""
_CUT_OFF = 3
"""Bytes that the last UTF-8 character of a sample may lack."""
_LONG = 60
"""Characters; no column has a longer name."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text table is written.

    Attributes:
        encoding: Python's name of it.
        separator: one of `SEPARATORS`; empty: the lines have one column.
        quote: the quote character; empty: quotes are part of the values.
        header: whether the first line names the columns.
    """

    encoding: str
    separator: str
    quote: str
    header: bool


def sniff_table(sample: bytes, *, separator: str = "") -> Dialect:
    """Recognise the dialect of a table from its first bytes.

    Args:
        sample: the beginning of the file, decompressed; its last line may be cut off.
        separator: the separator if it is known, such as a tab in a `.tsv`.
    """
    encoding = sniff_encoding(sample)
    lines = text_lines(sample.decode(encoding, errors="replace"), cut_off=True)
    found, quote = sniff_separator(lines) if not separator else (separator, _quote(lines))
    rows = split_rows(lines[:LINES], found, quote)
    return Dialect(encoding, found, quote, sniff_header(rows))


def sniff_encoding(sample: bytes) -> str:
    """Return the encoding of a text: by its byte order mark, else UTF-8 or Windows' cp1252."""
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as err:
        if err.start < len(sample) - _CUT_OFF:
            return "cp1252" if _decodes(sample, "cp1252") else "latin-1"
    return "utf-8"


def text_lines(text: str, *, cut_off: bool = False) -> list[str]:
    """Split at LF, CR or CR LF, and drop empty lines.

    Args:
        text: of the sample.
        cut_off: whether the last line may be incomplete; it is dropped if another line is left.
    """
    text = re.sub("\r+\n", "\n", text)
    text = text if "\n" in text else text.replace("\r", "\n")
    complete = not cut_off or text.endswith("\n")
    lines = [line for line in text.split("\n") if line]
    return lines if complete or len(lines) < 2 else lines[:-1]


def sniff_separator(lines: Sequence[str]) -> tuple[str, str]:
    """Return separator and quote: those with which most lines have the same number of fields.

    The first line must have that number too, because it may be the header. Without a separator,
    both are empty.
    """
    best, found = (0.0, 0), ("", "")
    for separator in SEPARATORS:
        if separator == " " and best[0] >= _FITS:
            break
        quote = _quote(lines, separator)
        share, width = _regularity(split_rows(lines[:LINES], separator, quote))
        # More columns win only among separators that are about equally regular.
        if width > 1 and (round(share, 1), width) > best:
            best, found = (round(share, 1), width), (separator, quote)
    return found


def split_rows(lines: Sequence[str], separator: str, quote: str) -> list[list[str]]:
    """Split lines into fields; a quoted field may contain separators and line breaks."""
    if not separator:
        return [[line] for line in lines]
    if len(separator) > 1:
        return [line.split(separator) for line in lines]
    ends = (line + "\n" for line in lines)
    if quote:
        reader = csv.reader(ends, delimiter=separator, quotechar=quote)
    else:
        reader = csv.reader(ends, delimiter=separator, quotechar=None, quoting=csv.QUOTE_NONE)
    try:
        return list(islice(reader, len(lines)))
    except csv.Error:  # a field beyond csv's limit: an open quote
        return [line.split(separator) for line in lines]


def sniff_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns.

    It does not if it has a number, an empty field, a long text, or one name twice. Otherwise each
    column votes: against a header if its values and the first field have one form, such as
    `N55528`; for it if only the values do.
    """
    if not rows:
        return True
    first = [field.strip() for field in rows[0]]
    named = [field for field in first if field]
    if len({*named}) < len(named) or any(_is_number(f) or len(f) > _LONG for f in first):
        return False
    if len(named) < len(first) - 1:  # the first column of pandas' index has no name
        return False
    votes = 0
    for place, field in enumerate(first):
        forms = Counter(_form(row[place]) for row in rows[1:] if len(row) > place and row[place])
        if not forms:
            continue
        form, n = forms.most_common(1)[0]
        if n > 0.9 * forms.total():
            same = _form(field) == form
            # Words of letters look like names, so they do not vote against a header.
            votes += (-1 if re.search(r"[^a ]", form) else 0) if same else 1
    return votes >= 0 and not _reads_as_text(first)


def _quote(lines: Sequence[str], separator: str = "") -> str:
    """Return the double quote if fields begin and end with it, else an empty text."""
    part = re.escape(separator) if separator else r"[\t,;|]"
    begins = re.compile(f'(?:^|{part})"')
    ends = re.compile(f'"(?:$|{part})')
    quoted = [line for line in lines[:LINES] if begins.search(line)]
    whole = [line for line in quoted if ends.search(line)]
    return '"' if quoted and len(whole) >= 0.5 * len(quoted) else ""


def _regularity(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """Return the share of rows with the usual number of fields, and this number."""
    widths = Counter(len(row) for row in rows)
    if not widths:
        return 0.0, 0
    width, n = widths.most_common(1)[0]
    share = n / widths.total()
    return (share if len(rows[0]) == width else share / 2), width


def _form(field: str) -> str:
    """Return the form of a value: runs of letters as `a`, of digits as `9`, the rest as it is."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", field.strip()))


def _is_number(field: str) -> bool:
    return re.fullmatch(r"[-+]?\d+([.,:/-]\d+)*", field) is not None


def _reads_as_text(first: Sequence[str]) -> bool:
    """Return whether a field has more words than a name."""
    return any(len(field.split()) > 5 for field in first)


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
