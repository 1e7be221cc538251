"""Parse the text of a formula, such as "purchase * price + 0.1 * engage", without `eval`.

Grammar, with the usual precedence; a chain of one sign is one operation, from left to right:

    sum     = product (("+" | "-") product)*
    product = part (("*" | "/") part)*
    part    = "-" part | number | name | function "(" sum ("," sum)* ")" | "(" sum ")"
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

from pocketrec_bundle.encoding.strict_json import MAX_NUMBER
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.objectives.formula import (
    MAX_ARGS,
    OPERATIONS,
    Constant,
    Head,
    Node,
    Number,
    Operation,
    excess,
)

MAX_TEXT = 2000
"""Characters of a formula."""
MAX_NESTING = 32
"""Parentheses, functions and signs within each other; the tree's own bound is smaller."""
FUNCTIONS = ("min", "max", "log1p", "clip")
_OF_SIGNS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[-+*/(),]))"
)


class FormulaError(InputError):
    """The text is not a formula, or names something that the release does not have."""


def parse(text: str, heads: Collection[str], numbers: Collection[str]) -> Node:
    """Return the tree of a formula.

    Args:
        text: the formula.
        heads: names of heads.
        numbers: names of numeric item columns.

    Raises:
        FormulaError: the message names the place in the text.

    Example:
        >>> parse("purchase * price + 1", ["purchase"], ["price"])  # doctest: +ELLIPSIS
        Operation(name='add', args=(Operation(name='mul', args=(Head(name='purchase'), ...
    """
    if len(text) > MAX_TEXT:
        raise FormulaError(f"{len(text)} characters; at most {MAX_TEXT} are allowed")
    if both := sorted(set(heads) & set(numbers)):
        raise FormulaError(
            f"{', '.join(map(repr, both))} is both an objective and a numeric column. Rename the "
            "objective."
        )
    parser = _Parser(text, heads, numbers)
    tree = parser.sum(0)
    if parser.token.kind != "end":
        parser.fail(f"expected an operator, found {parser.token.text!r}")
    if problem := excess(tree):
        raise FormulaError(f"{problem}. Shorten the formula.")
    return tree


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Recursive descent over one text, with a bound on its nesting."""

    def __init__(self, text: str, heads: Collection[str], numbers: Collection[str]) -> None:
        self._text, self._heads, self._numbers = text, heads, numbers
        self._at = 0
        self.token = self._next()

    def fail(self, problem: str) -> NoReturn:
        raise FormulaError(f"at character {self.token.place + 1} of {self._text!r}: {problem}")

    def sum(self, level: int) -> Node:
        return self._chain(("+", "-"), level)

    def _chain(self, signs: tuple[str, str], level: int) -> Node:
        """Parse parts joined by signs of one precedence; equal neighbours join one operation."""
        joins_sums = signs == ("+", "-")
        found = self._chain(("*", "/"), level) if joins_sums else self._part(level)
        last, args = "", [found]
        while self.token.text in signs and self.token.kind == "sign":
            name = _OF_SIGNS[self.token.text]
            self._advance()
            part = self._chain(("*", "/"), level) if joins_sums else self._part(level)
            if name == last and name in ("add", "mul") and len(args) < MAX_ARGS:
                args.append(part)
            else:
                args = [_joined(last, args), part]
            last = name
        return _joined(last, args)

    def _part(self, level: int) -> Node:
        if level > MAX_NESTING:
            self.fail(f"more than {MAX_NESTING} parentheses or signs within each other")
        token = self.token
        if token.text == "-":
            self._advance()
            part = self._part(level + 1)
            if isinstance(part, Constant):
                return Constant(-part.value)
            return Operation("sub", (Constant(0.0), part))
        if token.text == "(":
            self._advance()
            found = self.sum(level + 1)
            self._expect(")")
            return found
        if token.kind == "number":
            value = float(token.text)
            if not value <= MAX_NUMBER:
                self.fail(f"a constant must be at most {MAX_NUMBER:g}")
            self._advance()
            return Constant(value)
        if token.kind != "name":
            found_text = token.text or "the end"
            self.fail(f"expected a name, a number or a parenthesis, found {found_text!r}")
        return self._named(level)

    def _named(self, level: int) -> Node:
        name = self.token.text
        if name in FUNCTIONS:
            self._advance()
            self._expect("(")
            args = [self.sum(level + 1)]
            while self.token.text == ",":
                self._advance()
                args.append(self.sum(level + 1))
            least, most = OPERATIONS[name]
            if not least <= len(args) <= most:
                wanted = str(least) if least == most else f"{least} to {most}"
                self.fail(f"{name} takes {wanted} arguments, not {len(args)}")
            self._expect(")")
            return Operation(name, tuple(args))
        if name not in self._heads and name not in self._numbers:
            near = get_close_matches(name, [*self._heads, *self._numbers, *FUNCTIONS], n=1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            self.fail(
                f"no objective and no numeric column {name!r}{hint} Objectives: "
                f"{', '.join(self._heads)}; columns: {', '.join(self._numbers)}"
            )
        self._advance()
        return Head(name) if name in self._heads else Number(name)

    def _expect(self, sign: str) -> None:
        if self.token.text != sign:
            self.fail(f"expected {sign!r}, found {self.token.text or 'the end'!r}")
        self._advance()

    def _advance(self) -> None:
        self.token = self._next()

    def _next(self) -> _Token:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            rest = self._text[self._at :]
            place = self._at + len(rest) - len(rest.lstrip())
            if rest.strip():
                self.token = _Token("bad", rest.strip()[0], place)
                self.fail(f"{rest.strip()[0]!r} is not a part of a formula")
            return _Token("end", "", place)
        self._at = found.end()
        kind = str(found.lastgroup)
        return _Token(kind, found[kind], found.start(kind))


def _joined(name: str, args: list[Node]) -> Node:
    return Operation(name, tuple(args)) if len(args) > 1 else args[0]
