"""JSON becomes rows: one object a line, an array of objects, or objects one after another.

Numbers keep the text that the file has, so that no id is rounded. A list of texts becomes one text
that begins with `LIST` and has it between the items; other nested values stay JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pocketrec_training.errors import TableInvalidError
from pocketrec_training.reading.batch import Batch, Broken, sample
from pocketrec_training.reading.decode import MAX_LINE, Block

LIST = "\x1f"
"""Unit separator: no name in a list has it (it is removed), so all names stay whole."""
MAX_COLUMNS = 2000
ROWS = 50_000
"""Rows of a batch, if the file is not in lines."""
_BLANKS = re.compile(r"[\s,]*")
_text: Any = str
_DECODER = json.JSONDecoder(parse_int=_text, parse_float=_text, parse_constant=_text)


class JsonRows:
    """Reads the objects of one file.

    Attributes:
        names: keys so far, in order of first use.
        nested: for each key with an object or a list of them, the first line and the kind.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.names: dict[str, int] = {}
        self.nested: dict[str, tuple[int, str]] = {}

    def batches(self, blocks: Iterator[Block]) -> Iterator[Batch]:
        """Yield the rows of all blocks.

        Raises:
            TableInvalidError: the file is empty, is not JSON objects, or is cut off.
        """
        for block in blocks:
            start = next((k for k, line in enumerate(block.lines) if line.strip()), None)
            if start is None:
                continue
            line = block.lines[start].strip()
            if line.startswith("[") or not _is_complete(line):
                yield from self._values(block, blocks, array=line.startswith("["))
            else:
                yield from self._lines(block, blocks)
            return
        raise TableInvalidError(f"{self.file}: is empty.")

    def _lines(self, block: Block, blocks: Iterator[Block]) -> Iterator[Batch]:
        """One object a line: a damaged line costs its row, except the last one."""
        last: tuple[int, str] | None = None
        while True:
            objects: list[dict[str, Any]] = []
            numbers: list[int] = []
            broken = block.broken
            for number, line in enumerate(block.lines, block.first):
                if not line or line.isspace():
                    continue
                if last is not None:
                    broken.append(Broken(last[0], "not JSON", sample(last[1])))
                    last = None
                try:
                    value = _DECODER.decode(line)
                except (ValueError, RecursionError):
                    last = number, line
                    continue
                self._take(value, number, line, objects, numbers, broken)
            if block.ends and last is not None:
                raise self._cut_off(*last)
            yield self._batch(objects, numbers, broken)
            if block.ends:
                return
            block = next(blocks)

    def _take(
        self,
        value: Any,
        number: int,
        text: str,
        objects: list[dict[str, Any]],
        numbers: list[int],
        broken: list[Broken],
    ) -> None:
        if not isinstance(value, dict):
            broken.append(Broken(number, "not a JSON object", sample(text)))
        elif "\\u" in text and not _is_clean(text, value):
            broken.append(Broken(number, "a NUL or half a character", sample(text)))
        elif "\0" in text:
            broken.append(Broken(number, "a NUL byte", sample(text)))
        else:
            objects.append(value)
            numbers.append(number)

    def _values(self, block: Block, blocks: Iterator[Block], *, array: bool) -> Iterator[Batch]:
        """Values of an array, or one after another; what does not decode ends the file."""
        text = "\n".join(block.lines)
        line = block.first
        at = _skip(text, 0)
        if array:
            line += text.count("\n", 0, at)
            text, at = text[at + 1 :], 0
        objects: list[dict[str, Any]] = []
        numbers: list[int] = []
        broken: list[Broken] = []
        while True:
            stop = _skip(text, at)
            line += text.count("\n", at, stop)
            at = stop
            closed = array and text[at : at + 1] == "]"
            if closed:
                rest = text[at + 1 :].strip()
                if rest or not block.ends:
                    rest = rest or "".join(each for b in blocks for each in b.lines).strip()
                if rest:
                    raise self._wrong(line, rest, "text after the end of the array")
            if closed or (at == len(text) and block.ends):
                if array and not closed:
                    raise self._wrong(line, "", "the array does not end, so the file is cut off")
                if objects or not self.names:
                    yield self._batch(objects, numbers, broken)
                return
            try:
                value, stop = _DECODER.raw_decode(text, at)
                if stop == len(text) and not block.ends:
                    raise ValueError  # a number may go on
            except (ValueError, RecursionError) as err:
                if block.ends or len(text) - at > MAX_LINE:
                    why = "a value is not JSON or the file is cut off"
                    raise self._wrong(line, text[at:], why) from err
                block = next(blocks)
                text, at = text[at:] + "\n" + "\n".join(block.lines), 0
                continue
            self._take(value, line, text[at:stop], objects, numbers, broken)
            line += text.count("\n", at, stop)
            at = stop
            if len(objects) >= ROWS:
                yield self._batch(objects, numbers, broken)
                objects, numbers, broken = [], [], []

    def _batch(
        self, objects: list[dict[str, Any]], numbers: list[int], broken: list[Broken]
    ) -> Batch:
        for one in objects:
            if not self.names.keys() >= one.keys():
                for name in one:
                    self.names.setdefault(name, len(self.names))
        if len(self.names) > MAX_COLUMNS:
            raise TableInvalidError(f"{self.file}: objects have more than {MAX_COLUMNS} keys.")
        columns = [[one.get(name) for one in objects] for name in self.names]
        for name, column in zip(self.names, columns, strict=True):
            kinds = {*map(type, column)}
            if not kinds <= {str, type(None)}:
                self._to_texts(name, column, numbers)
        return Batch(tuple(self.names), columns, numbers, broken)

    def _to_texts(self, name: str, column: list[Any], numbers: list[int]) -> None:
        for place, value in enumerate(column):
            match value:
                case None | str():
                    continue
                case bool():
                    column[place] = "true" if value else "false"
                case _:
                    column[place] = list_text(value)
                    kind = "a list" if isinstance(value, list) else "an object"
                    self.nested.setdefault(name, (numbers[place], kind))

    def _cut_off(self, number: int, line: str) -> TableInvalidError:
        return TableInvalidError(
            f"{self.file}:{number}: the last line is not a complete JSON object, so the file "
            f"is cut off: {sample(line)}. Get the whole file, or delete this line."
        )

    def _wrong(self, line: int, text: str, why: str) -> TableInvalidError:
        shown = f": {sample(text.strip())}" if text.strip() else ""
        return TableInvalidError(
            f"{self.file}:{line}: {why}{shown}. Get the whole file, or mend it; with one object a "
            "line (.jsonl), damage costs a line only."
        )


def list_text(value: Any) -> str:
    """Return a list of texts as one text with `LIST` before each, another value as JSON."""
    if isinstance(value, list) and all(each is None or isinstance(each, str) for each in value):
        return "".join(LIST + each.replace(LIST, "") for each in value if each)
    return json.dumps(value, ensure_ascii=False)


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None
    return found.end()


def _is_complete(line: str) -> bool:
    try:
        _DECODER.decode(line)
    except RecursionError:
        return True  # deep, yet a line
    except ValueError:
        # `{` alone begins an object over several lines; a longer line is a damaged one.
        return re.fullmatch(r'\{\s*("[^"]*"\s*:.*)?,?', line) is None or line.endswith("}")
    return True


def _is_clean(text: str, value: dict[str, Any]) -> bool:
    """Return whether all escaped characters of an object can be stored."""
    if "\\u0000" in text:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
