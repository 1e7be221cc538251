"""How the languages of apps write names, types and literals.

A text of the release becomes a literal of ASCII letters only: no quote, template, comment or letter
of another direction in it can end the literal early.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pocketrec_export.kit.facts import Constant, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How a language writes names and literals.

    types: by kind of constant; special: letters that need a backslash; wide: escape of a letter
    beyond ASCII, filled in with its hex number; units: that number is one of UTF-16, else of
    Unicode; shout: names are in capitals, else in camelCase.
    """

    types: Mapping[Kind, str]
    special: str
    wide: str
    units: bool
    shout: bool
    long_suffix: str = ""

    def text(self, value: str) -> str:
        """Return a text as a literal in quotes."""
        return '"' + "".join(map(self._letter, value)) + '"'

    def _letter(self, letter: str) -> str:
        if letter in self.special:
            return "\\" + letter
        if " " <= letter <= "~":
            return letter
        if not self.units:
            return self.wide.format(ord(letter))
        data = letter.encode("utf-16-be")
        numbers = [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
        return "".join(map(self.wide.format, numbers))

    def literal(self, constant: Constant) -> str:
        """Return a constant's value as a literal of its type."""
        value = constant.value
        if constant.kind == "text":
            return self.text(str(value))
        if constant.kind == "flag":
            return "true" if value else "false"
        if constant.kind == "number":
            return repr(float(value))
        return str(value) + (self.long_suffix if constant.kind == "long" else "")

    def name(self, snake: str) -> str:
        """Return a name of ours, given in snake_case, in the language's style."""
        if self.shout:
            return snake.upper()
        return re.sub(r"_(.)", lambda found: found[1].upper(), snake)


KOTLIN = Language(
    types={
        "text": "String",
        "integer": "Int",
        "long": "Long",
        "number": "Double",
        "flag": "Boolean",
    },
    special='\\"$',
    wide="\\u{:04x}",
    units=True,
    shout=True,
    long_suffix="L",
)
SWIFT = Language(
    types={"text": "String", "integer": "Int", "long": "Int64", "number": "Double", "flag": "Bool"},
    special='\\"',
    wide="\\u{{{:x}}}",
    units=False,
    shout=False,
)
TYPESCRIPT = Language(
    types={
        "text": "string",
        "integer": "number",
        "long": "number",
        "number": "number",
        "flag": "boolean",
    },
    special='\\"',
    wide="\\u{:04x}",
    units=True,
    shout=True,
)
