"""The tree of a final-score formula: its nodes, its bounds and its JSON form.

FORMAT.md, "Formula", fixes order and arithmetic; evaluate.py computes it and reference.py repeats
it in plain loops.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pocketrec_bundle.encoding.strict_json import is_number, is_text, shown

MAX_NODES = 64
MAX_DEPTH = 8
"""Levels of a tree; a single name or constant has 1."""
MAX_ARGS = 16
OPERATIONS = {
    "add": (2, MAX_ARGS),
    "mul": (2, MAX_ARGS),
    "sub": (2, 2),
    "div": (2, 2),
    "min": (2, MAX_ARGS),
    "max": (2, MAX_ARGS),
    "log1p": (1, 1),
    "clip": (3, 3),
}
"""Operation -> least and most arguments; `clip` has value, low, high."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number within 1e15 of 0."""

    value: float


@dataclass(frozen=True, slots=True)
class Head:
    """The value of a head of the ranker, in its unit."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric item column; an unknown value counts 0."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of `OPERATIONS` on other nodes."""

    name: str
    args: "tuple[Node, ...]"


Node = Constant | Head | Number | Operation


def nodes(tree: Node) -> Iterator[Node]:
    """Yield all nodes of a tree, arguments before their operation, left to right."""
    if isinstance(tree, Operation):
        for arg in tree.args:
            yield from nodes(arg)
    yield tree


def depth(tree: Node) -> int:
    """Return the number of levels of a tree."""
    return 1 + max(map(depth, tree.args)) if isinstance(tree, Operation) else 1


def excess(tree: Node) -> str:
    """Say which bound a tree exceeds; "" if none."""
    if (n := sum(1 for _ in nodes(tree))) > MAX_NODES:
        return f"{n} names, constants and operations; at most {MAX_NODES} are allowed"
    if (levels := depth(tree)) > MAX_DEPTH:
        return f"{levels} levels; at most {MAX_DEPTH} are allowed"
    return ""


def to_json(tree: Node) -> object:
    """Return plain JSON values.

    >>> to_json(Operation("mul", (Head("purchase"), Number("price"))))
    ['mul', ['head', 'purchase'], ['number', 'price']]
    """
    match tree:
        case Constant(value):
            return value
        case Head(name):
            return ["head", name]
        case Number(name):
            return ["number", name]
        case Operation(name, args):
            return [name, *map(to_json, args)]


def from_json(value: object, heads: Collection[str], numbers: Collection[str]) -> Node:
    """Check and build a tree from parsed JSON.

    Args:
        value: parsed JSON.
        heads: names of the release's heads.
        numbers: names of its numeric columns.

    Raises:
        ValueError: an operation, a name, a number of arguments or a bound does not hold.
    """
    return _read(value, heads, numbers, 1, iter(range(MAX_NODES)))


def _read(
    value: object,
    heads: Collection[str],
    numbers: Collection[str],
    level: int,
    left: Iterator[int],
) -> Node:
    if level > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if next(left, None) is None:  # counted on the way, so a huge file is not built first
        raise ValueError(f"more than {MAX_NODES} names, constants and operations")
    if is_number(value):
        return Constant(float(value))  # type: ignore[arg-type]
    if not isinstance(value, list) or not value or not is_text(value[0]):
        raise ValueError(f"a node must be a number or a list with a name first: {shown(value)}")
    name, *args = value
    if name in ("head", "number"):
        known = heads if name == "head" else numbers
        if len(args) != 1 or not is_text(args[0]) or args[0] not in known:
            raise ValueError(f"no such {name}: {shown(args)}")
        return Head(args[0]) if name == "head" else Number(args[0])
    if name not in OPERATIONS:
        raise ValueError(f"unknown operation {shown(name)}")
    least, most = OPERATIONS[name]
    if not least <= len(args) <= most:
        raise ValueError(f"{name} takes {least}..{most} arguments, not {len(args)}")
    return Operation(name, tuple(_read(arg, heads, numbers, level + 1, left) for arg in args))


_SIGNS = {"add": " + ", "sub": " - ", "mul": " * ", "div": " / "}
_STRENGTH = {"add": 1, "sub": 1, "mul": 2, "div": 2}


def to_text(tree: Node) -> str:
    """Write a formula as a recipe has it; `formula_text.parse` reads it back.

    >>> to_text(Operation("mul", (Head("a"), Operation("add", (Head("b"), Constant(0.5))))))
    'a * (b + 0.5)'
    """
    match tree:
        case Constant(value):
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        case Head(name) | Number(name):
            return name
        case Operation(name, args) if name in _SIGNS:
            first, *rest = (_part(name, arg, place) for place, arg in enumerate(args))
            return _SIGNS[name].join((first, *rest))
        case Operation(name, args):
            return f"{name}({', '.join(map(to_text, args))})"


def _part(outer: str, arg: Node, place: int) -> str:
    """Write an argument, in parentheses where the text would be read as another tree."""
    text = to_text(arg)
    if isinstance(arg, Operation) and arg.name in _SIGNS:
        inner_strength = _STRENGTH[arg.name]
        merges = place == 0 and arg.name == outer and outer in ("add", "mul")
        if inner_strength < _STRENGTH[outer] or (inner_strength == _STRENGTH[outer] and place):
            return f"({text})"
        return f"({text})" if merges else text
    return f"({text})" if isinstance(arg, Constant) and arg.value < 0 and place else text
