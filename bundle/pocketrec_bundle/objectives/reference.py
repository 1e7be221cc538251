"""The formula in plain loops, for one candidate: what a client in another language writes.

It shares nothing with evaluate.py but the tree. Tests compare both.
"""

import math
from collections.abc import Mapping

from pocketrec_bundle.objectives.formula import Constant, Head, Node, Number

_LARGEST = 1e15


def evaluate_one(
    tree: Node, heads: Mapping[str, float], numbers: Mapping[str, float]
) -> tuple[float, bool]:
    """Return the value of a formula for one candidate, and whether 0 stands for a faulty number.

    Args:
        tree: the formula.
        heads: values of the heads by name, in their units.
        numbers: numeric columns by name, 0 where unknown.
    """
    value, faulty = _value(tree, heads, numbers)
    if abs(value) > _LARGEST:
        return 0.0, True
    return value, faulty


def _value(
    tree: Node, heads: Mapping[str, float], numbers: Mapping[str, float]
) -> tuple[float, bool]:
    if isinstance(tree, Constant):
        return tree.value, False
    if isinstance(tree, Head):
        return heads[tree.name], False
    if isinstance(tree, Number):
        return numbers[tree.name], False
    args, faulty = [], False
    for arg in tree.args:
        value, bad = _value(arg, heads, numbers)
        args.append(value)
        faulty = faulty or bad
    value = args[0]
    if tree.name == "log1p":
        value = math.log1p(value) if value > -1.0 else math.nan
    elif tree.name == "clip":
        value = min(max(value, args[1]), args[2])
    for other in args[1:] if tree.name not in ("log1p", "clip") else ():
        if tree.name == "add":
            value += other
        elif tree.name == "sub":
            value -= other
        elif tree.name == "mul":
            value *= other
        elif tree.name == "div":
            value = value / other if other != 0.0 else math.nan
        else:
            value = min(value, other) if tree.name == "min" else max(value, other)
    if not math.isfinite(value):
        return 0.0, True
    return value, faulty
