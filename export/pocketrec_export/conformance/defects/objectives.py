"""Faults of `objectives.json`: its heads and its formula."""

from collections.abc import Callable
from typing import Any

from pocketrec_bundle.objectives.formula import MAX_DEPTH, MAX_NODES
from pocketrec_bundle.objectives.heads import FILE, MAX_HEADS
from pocketrec_export.conformance.defects.defect import Defect, dropping, parsed, setting

_DEEP: Any = 1.0
for _ in range(MAX_DEPTH):
    _DEEP = ["log1p", _DEEP]
_WIDE = ["add", *[["add", *[1] * 15]] * 4]
"""More than `MAX_NODES` nodes in 3 levels."""


def _json(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return Defect(
        name=f"objectives-{name}",
        code=code,
        fault=f"{FILE}: {fault}",
        make=parsed(FILE, change),
        version=3,
    )


def _formula(name: str, fault: str, tree: Any) -> Defect:
    change = setting("formula", to=tree)
    return _json(f"formula-{name}", "objectives_value", f"the formula {fault}", change)


DEFECTS = (
    _json("too-new", "too_new", "version 2", setting("version", to=2)),
    _json("version-0", "objectives_value", "version 0", setting("version", to=0)),
    _json("list", "objectives_keys", "it is a list", lambda _: []),
    _json("key-missing", "objectives_keys", "no formula", dropping("formula")),
    _json("key-unknown", "objectives_keys", "it has more keys", setting("more", to=1)),
    _json("no-heads", "objectives_value", "no heads", setting("heads", to=[])),
    _json(
        "many-heads",
        "objectives_value",
        f"{MAX_HEADS + 1} heads",
        lambda v: v | {"heads": v["heads"][:1] * (MAX_HEADS + 1)},
    ),
    _json(
        "order",
        "objectives_value",
        "heads in another order",
        lambda v: v | {"heads": v["heads"][::-1]},
    ),
    _json("head-list", "objectives_keys", "a head is a list", setting("heads", 0, to=[])),
    _json("head-key", "objectives_keys", "a head has no unit", dropping("heads", 0, "unit")),
    _json("name", "objectives_value", "a head named Engage", setting("heads", 0, "name", to="E")),
    _json("kind", "objectives_value", "the kind rank", setting("heads", 0, "kind", to="rank")),
    _json(
        "events", "objectives_value", "an unknown event", setting("heads", 0, "events", to=["x"])
    ),
    _json(
        "window",
        "objectives_value",
        "a window that is a fraction",
        setting("heads", 0, "window_s", to=0.5),
    ),
    _json(
        "scale",
        "objectives_value",
        "a binary head with a scale of 2",
        setting("heads", 0, "scale", to=2),
    ),
    _json("unit", "objectives_value", "a unit of 3", setting("heads", 0, "unit", to=3)),
    _formula("text", "is a text", "engage"),
    _formula("head", "names another head", ["head", "buy"]),
    _formula("number", "names another column", ["number", "size"]),
    _formula("operation", "has another operation", ["pow", 2, 3]),
    _formula("arguments", "divides three numbers", ["div", 1, 2, 3]),
    _formula("deep", f"has {MAX_DEPTH + 1} levels", _DEEP),
    _formula("wide", f"has more than {MAX_NODES} nodes", _WIDE),
)
