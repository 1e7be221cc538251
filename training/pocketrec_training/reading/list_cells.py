"""Lists written as the text of one cell: `['Action', "Children's"]`, `[Action, Comedy]`, `[["a"]]`.

Python, JSON and RecBole write them so. `list_parts` reads one text, `with_lists` a whole column in
the query; both follow the patterns below, and neither evaluates anything.
"""

import re

import ibis
import ibis.expr.datatypes as dt
from ibis.expr import types as ir

from pocketrec_training.reading.json_rows import LIST

MAX_CELL = 20_000
"""Characters; a longer text is not read as a list."""
_QUOTED = r"""u?'(?:[^'\\]|\\.)*'|u?"(?:[^"\\]|\\.)*\""""
_REST = r"[^\[\]{},]*"
_BARE = rf"""[^\su'"\[\]{{}},]{_REST}|u(?:[^'"\[\]{{}},]{_REST})?"""
_PART = rf"\s*(?:{_QUOTED}|{_BARE})?\s*"
_INNER = rf"\s*\[{_PART}(?:,{_PART})*\]\s*"
_WHOLE = rf"(?s)^\[(?:{_PART}|{_INNER})(?:,(?:{_PART}|{_INNER}))*\]$"
_EITHER = rf"(?s)(?:{_QUOTED}|{_BARE})"
_ONE_PART = re.compile(_PART, re.DOTALL)
_IS_QUOTED = rf"(?s)^(?:{_QUOTED})$"


def list_parts(text: str) -> list[str] | None:
    r"""Return the texts of a list; None if a text is not a list, or a longer one than `MAX_CELL`.

    A list within the list is flattened. Time is linear in the length.

    >>> list_parts("['Sci-Fi', \"Children's\"]"), list_parts("[Action, ]"), list_parts("[[a], [b]]")
    (['Sci-Fi', "Children's"], ['Action'], ['a', 'b'])
    >>> list_parts("[{'id': 1}]"), list_parts("[REC] 2")
    (None, None)
    """
    if not text.startswith("[") or not text.endswith("]") or len(text) > MAX_CELL:
        return None
    parts, depth, at = [], 1, 1
    while True:
        found = _ONE_PART.match(text, at)
        assert found is not None
        part, after = found[0].strip(), found.end()
        if not part and depth == 1 and text[after] == "[":
            depth, at = 2, after + 1
            continue
        parts += [name] if (name := _plain(part)) else []
        while depth and text[after : after + 1] == "]":
            depth, after = depth - 1, after + 1
            after = len(text) - len(text[after:].lstrip()) if depth else after
        if not depth:
            return parts if after == len(text) else None
        if text[after : after + 1] != ",":
            return None
        at = after + 1


def _plain(part: str) -> str:
    if re.match(_IS_QUOTED, part):
        part = re.sub(r"(?s)\\(.)", r"\1", part.removeprefix("u")[1:-1])
    return part.strip()


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def regexp_extract_all(text: str, pattern: str) -> dt.Array[dt.string]:
    """Return all matches of a pattern (DuckDB's and Spark's function)."""


def with_lists(texts: ir.StringValue) -> ir.StringValue:
    """Return a column in which lists are texts with `LIST` before each part, as of JSON."""
    is_list = (
        texts.startswith("[")
        & texts.endswith("]")
        & (texts.length() <= MAX_CELL)
        & texts.re_search(_WHOLE)
    )
    parts = regexp_extract_all(texts.replace(LIST, ""), _EITHER)
    plain = parts.map(_plain_value)
    joined = ibis.literal(LIST) + plain.join(LIST)
    return ibis.ifelse(is_list.fill_null(False), joined, texts)


def _plain_value(part: ir.StringValue) -> ir.StringValue:
    inner = part.re_replace("^u?['\"]", "").re_replace("['\"]$", "")
    return ibis.ifelse(
        part.re_search(_IS_QUOTED), inner.re_replace(r"(?s)\\(.)", r"\1"), part.strip()
    )
