"""The separator of a text table: by the file's ending, else by its first lines."""

from pocketrec_training.reading.sniff import LINES, sniff_separator

_BY_ENDING = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
_RECBOLE = (".inter", ".item", ".user")
"""Tabs in RecBole's atomic files; MovieLens-100K's `u.item` has bars."""


def separator_of(lines: list[str], ending: str, *, header: bool) -> str:
    """Return the separator of a table, "," for a table of one column.

    Args:
        lines: the first lines of the file.
        ending: of its name, such as `.csv`.
        header: whether the first line has names, which must then come out as many as the fields.
    """
    if found := _BY_ENDING.get(ending):
        return found
    some = [line for line in lines[:LINES] if line.strip()]
    if not header and len(some) == 1:
        some = some * 2
    if ending in _RECBOLE and some and "\t" in some[0]:
        return "\t"
    separator, _ = sniff_separator(some)
    if ending == ".csv" and "," in some[0] and separator in ("|", " "):
        return ","  # blanks and bars are within the fields of a .csv
    return separator or ","
