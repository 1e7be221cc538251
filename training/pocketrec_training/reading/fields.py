r"""One record of a text table to its fields, quoted as in RFC 4180 or with backslashes.

>>> split_record('a,"b, ""c"", d",e', ",")
['a', 'b, "c", d', 'e']
>>> split_record('a,"b', ",") is OPEN
True
>>> split_record('a,"b"c', ",") is BAD
True
"""

from enum import Enum


class Fault(Enum):
    """Why a record has no fields."""

    OPEN = "a quote opens and does not close"
    BAD = "text after a closing quote"


OPEN, BAD = Fault.OPEN, Fault.BAD


def split_record(record: str, separator: str) -> list[str] | Fault:
    r"""Split a record whose fields may be quoted.

    Quotes within a quoted field are doubled or, where that does not fit, escaped as `\"`. A quote
    within a field that does not begin with one is a part of its text.
    """
    found = _split(record, separator, escapes=False)
    if isinstance(found, Fault) and '\\"' in record:
        other = _split(record, separator, escapes=True)
        return found if isinstance(other, Fault) else other
    return found


def split_plain(line: str, separator: str) -> list[str]:
    """Split a line at each separator, then unquote fields that are quoted as a whole."""
    return [unquoted(each) if each[:1] == '"' else each for each in line.split(separator)]


def unquoted(text: str) -> str:
    """Return the text of a field that one pair of quotes encloses, others unchanged."""
    inner = text[1:-1]
    if len(text) > 1 and text[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return text


def _split(record: str, separator: str, *, escapes: bool) -> list[str] | Fault:
    fields: list[str] = []
    at, width = 0, len(separator)
    while True:
        if record[at : at + 1] != '"':
            stop = record.find(separator, at)
            fields.append(record[at:] if stop < 0 else record[at:stop])
        else:
            close = _closing(record, at + 1, escapes=escapes)
            if close < 0:
                return OPEN
            stop = close + 1 if record.startswith(separator, close + 1) else -1
            if stop < 0 and record[close + 1 :].strip():
                return BAD
            text = record[at + 1 : close].replace('""', '"')
            fields.append(text.replace('\\"', '"') if escapes else text)
        if stop < 0:
            return fields
        at = stop + width


def _closing(record: str, at: int, *, escapes: bool) -> int:
    """Return the place of the quote that closes a field, -1 if none does."""
    while (quote := record.find('"', at)) >= 0:
        if escapes and (len(record[at:quote]) - len(record[at:quote].rstrip("\\"))) % 2:
            at = quote + 1
        elif record[quote + 1 : quote + 2] == '"':
            at = quote + 2
        else:
            return quote
    return -1
