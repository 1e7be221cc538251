"""Evaluate a formula for all candidates at once, in float64."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.encoding.strict_json import MAX_NUMBER
from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.objectives.formula import Constant, Head, Node, Number


def evaluate(
    tree: Node, n: int, heads: Mapping[str, Floats64], numbers: Mapping[str, Floats64]
) -> tuple[Floats64, NDArray[np.bool_]]:
    """Return the value of a formula for n candidates, and where 0 stands for a faulty number.

    A node counts as 0 where its result is not finite: a division by 0, a logarithm of 0 or less, a
    product that is too large. So does a final value beyond 1e15.

    Args:
        tree: the formula.
        n: number of candidates.
        heads: float64 [n] by name, in the units of the heads.
        numbers: float64 [n] by name; unknown values are 0 already.

    Returns:
        float64 [n], within 1e15 of 0, and bool [n].
    """
    faulty = np.zeros(n, np.bool_)
    with np.errstate(all="ignore"):
        found = np.array(_value(tree, n, heads, numbers, faulty))
    beyond = np.abs(found) > MAX_NUMBER
    found[beyond] = 0.0
    return found, faulty | beyond


def _value(
    tree: Node,
    n: int,
    heads: Mapping[str, Floats64],
    numbers: Mapping[str, Floats64],
    faulty: NDArray[np.bool_],
) -> Floats64:
    match tree:
        case Constant(value):
            return np.full(n, value)
        case Head(name):
            return heads[name]
        case Number(name):
            return numbers[name]
    args = [_value(arg, n, heads, numbers, faulty) for arg in tree.args]
    found = _apply(tree.name, args)
    bad = ~np.isfinite(found)
    faulty |= bad
    return np.where(bad, 0.0, found)


def _apply(name: str, args: list[Floats64]) -> Floats64:
    first, *rest = args
    if name == "log1p":
        return np.log1p(first)
    if name == "clip":
        return np.minimum(np.maximum(first, rest[0]), rest[1])
    function = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "min": np.minimum,
        "max": np.maximum,
    }[name]
    for arg in rest:
        first = function(first, arg)
    return first
