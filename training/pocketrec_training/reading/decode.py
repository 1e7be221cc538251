"""Bytes of a text file become blocks of lines, in bounded memory."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import SAMPLE, Broken, sample
from pocketrec_training.reading.spec import TableSpec

BLOCK_BYTES = 2 << 20
MAX_LINE = 16 << 20
"""Characters of one line, or of one JSON value; longer ones are set aside."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(slots=True)
class Block:
    """Complete lines without their ends; `first` is the number of the first one.

    Attributes:
        n_lines: lines that the block covers; `lines` is shorter if one was too long.
        ends: whether the file ends here; `cut` is true if it ends without a line end.
    """

    first: int
    lines: list[str]
    ends: bool = False
    cut: bool = False
    broken: list[Broken] = field(default_factory=list)


def decoded(stream: BinaryIO, spec: TableSpec, file: str) -> Iterator[str]:
    """Yield the text of a file in pieces, without a byte order mark.

    Raises:
        TableInvalidError: a byte is not in the encoding; the text has the line, a sample and a
            setting to try.
    """
    data = stream.read(BLOCK_BYTES)
    encoding, mark = spec.encoding, b""
    for each, name in _MARKS:
        if data.startswith(each):
            encoding, mark = name, each
            break
    _refuse_unmarked_utf16(data, encoding, spec, file)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    data, lines = data[len(mark) :], 0
    while True:
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as err:
            raise _wrong_encoding(err, data, lines, encoding, spec, file) from err
        lines += text.count("\n")
        yield text
        if not data:
            return
        data = stream.read(BLOCK_BYTES)


def _refuse_unmarked_utf16(data: bytes, encoding: str, spec: TableSpec, file: str) -> None:
    head = data[:2000]
    if encoding.lower().startswith(("utf-16", "utf_16", "utf-32", "utf_32")) or len(head) < 4:
        return
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > 0.7 * len(head[offset::2]) and b"\n" in head:
            raise TableInvalidError(
                f"{file}:1: every second byte is 0, as in UTF-16. Set {spec.key}.encoding = "
                f'"{name}".'
            )


def _wrong_encoding(
    err: UnicodeError, data: bytes, lines: int, encoding: str, spec: TableSpec, file: str
) -> TableInvalidError:
    if not isinstance(err, UnicodeDecodeError):
        return TableInvalidError(f"{file}: is not {encoding} ({err}). Set {spec.key}.encoding.")
    whole = err.object  # with bytes that the decoder had kept from the piece before
    number = lines + 1 + whole[: err.start].count(b"\n")
    start = whole.rfind(b"\n", 0, err.start) + 1
    stop = whole.find(b"\n", err.start)
    line = whole[start : stop if stop >= 0 else len(whole)][:SAMPLE]
    where = f"{file}:{number}: byte 0x{whole[err.start]:02X} is not {encoding}"
    if err.reason == "unexpected end of data" and err.end >= len(whole) and not data:
        return TableInvalidError(
            f"{file}:{number}: the file ends within a character, so it is cut off. Get the whole "
            "file, or delete its last line."
        )
    hint = f" Set {spec.key}.encoding."
    for name in ("utf-8", "cp1252", "latin-1"):
        try:
            text = line.decode(name)
        except UnicodeDecodeError:
            continue
        if name != encoding and text.isprintable():
            hint = f'\nSet {spec.key}.encoding; with "{name}" the line reads: {sample(text)}'
            break
    return TableInvalidError(f"{where}: {line!r}." + hint)


def blocks(texts: Iterator[str]) -> Iterator[Block]:
    """Split text at LF, CR LF, CR CR LF, or at CR in a file without LF; the last block `ends`."""
    rest: list[str] = []
    held, first = 0, 1
    only_cr: bool | None = None
    for text in texts:
        if not text:
            continue
        if only_cr is None:
            only_cr = "\n" not in text and "\r" in text.rstrip("\r")
        if only_cr:
            text = text.replace("\r", "\n")
        head, end, tail = text.rpartition("\n")
        if not end:
            if held <= MAX_LINE:
                rest.append(tail)
            held += len(tail)
            continue
        lines = ("".join(rest) + head if rest else head).split("\n")
        if "\r" in head or (rest and "\r" in "".join(rest)):
            lines = [line.rstrip("\r") for line in lines]
        number, first = first, first + len(lines)  # a reader may take lines out of the block
        yield _block(number, lines, held)
        rest, held = ([tail], len(tail)) if tail else ([], 0)
    last = "".join(rest)
    lines = [last.rstrip("\r")] if last else []
    block = _block(first, lines, held)
    block.ends, block.cut = True, bool(last)
    yield block


def _block(first: int, lines: list[str], held: int) -> Block:
    if held <= MAX_LINE:
        return Block(first, lines)
    broken = [Broken(first, f"line longer than {MAX_LINE} characters", lines[0][:SAMPLE])]
    return Block(first, ["", *lines[1:]], broken=broken)  # an empty line holds no row
