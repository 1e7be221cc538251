"""`objectives.json`: the heads of a release, their units and the formula of the final score."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from pocketrec_bundle.encoding.strict_json import (
    MAX_NUMBER,
    is_integer,
    is_number,
    is_text,
    matches,
    refuse_newer,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.objectives import formula
from pocketrec_bundle.objectives.formula import Node

FILE = "objectives.json"
VERSION = 1
Kind = Literal["binary", "value", "share"]
Calibration = Literal["platt", "isotonic"]
MAX_HEADS = 64
MAX_WINDOW_S = 366 * 86_400
OBJECTIVE = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadMeaning:
    """One head of the ranker.

    Attributes:
        name: of the objective.
        kind: "binary": the output is the probability that one of `events` happens; "value": output
            x `scale` is the expected sum of their values; "share": the output is the expected
            share, 0..1.
        events: event types that count.
        window_s: seconds after a request in which they count; 0: only the next event or basket.
        calibration: how the output was calibrated.
        scale: largest value of a "value" head, in `unit`; 1 for the other kinds.
        unit: such as "amount GBP" or "seconds"; "" if unknown or without unit.
    """

    name: str
    kind: Kind
    events: tuple[str, ...]
    window_s: int
    calibration: Calibration
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """All heads in the order of the feature spec, and the formula.

    Attributes:
        heads: at least one.
        formula: None: the final score is the sum of `head_weights` x value of the head.
        version: of `objectives.json`.
    """

    heads: tuple[HeadMeaning, ...]
    formula: Node | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        heads = [asdict(head) | {"events": list(head.events)} for head in self.heads]
        tree = None if self.formula is None else formula.to_json(self.formula)
        return {"version": self.version, "heads": heads, "formula": tree}

    @classmethod
    def from_json(
        cls, value: object, heads: Sequence[str], numbers: Sequence[str], events: Sequence[str]
    ) -> "Objectives":
        """Check and build objectives from parsed JSON.

        Args:
            value: parsed JSON.
            heads: names of the release's heads, in the order of its feature spec.
            numbers: names of its numeric columns.
            events: its event types.

        Raises:
            BundleTooNewError: it has a later version.
            BundleInvalidError: a key is missing or unknown, or a value is out of bounds.
        """
        refuse_newer(FILE, value, VERSION)
        if not isinstance(value, dict) or value.keys() != {"version", "heads", "formula"}:
            raise BundleInvalidError(
                f"{FILE}: keys differ from version {VERSION}", code="objectives_keys"
            )
        if not is_integer(value["version"], VERSION, VERSION):
            raise _invalid(f"version must be {VERSION}")
        found = value["heads"]
        if not isinstance(found, list) or not 1 <= len(found) <= MAX_HEADS:
            raise _invalid(f"heads must be a list of 1..{MAX_HEADS}")
        read = tuple(_head(each, events) for each in found)
        if [head.name for head in read] != list(heads):
            raise _invalid("heads must be those of feature_spec.json, in its order")
        tree = None
        if value["formula"] is not None:
            try:
                tree = formula.from_json(value["formula"], heads, numbers)
            except ValueError as err:
                raise _invalid(f"formula: {err}") from err
        return cls(heads=read, formula=tree)


def _head(value: object, events: Sequence[str]) -> HeadMeaning:
    if not isinstance(value, dict) or value.keys() != {each.name for each in fields(HeadMeaning)}:
        raise BundleInvalidError(
            f"{FILE}: a head lacks keys or has unknown ones", code="objectives_keys"
        )
    name, kind, types = value["name"], value["kind"], value["events"]
    where = shown(name)
    if not matches(OBJECTIVE, name):
        raise _invalid(f"name {where} must have 1..40 of a-z 0-9 _ and begin with a letter")
    if kind not in get_args(Kind) or value["calibration"] not in get_args(Calibration):
        raise _invalid(f"{where}: unknown kind or calibration")
    if (
        not isinstance(types, list)
        or not types
        or not all(is_text(one) and one in events for one in types)
        or len(set(types)) < len(types)
    ):
        raise _invalid(f"{where}: events must be different event types of feature_spec.json")
    if not is_integer(value["window_s"], 0, MAX_WINDOW_S):
        raise _invalid(f"{where}: window_s must be an integer 0..{MAX_WINDOW_S}")
    scale = value["scale"]
    if not is_number(scale, 0, MAX_NUMBER) or not scale or (kind != "value" and scale != 1):
        raise _invalid(f"{where}: scale must be above 0, and 1 unless kind is value")
    if not is_text(value["unit"]):
        raise _invalid(f"{where}: unit must be a short text")
    return HeadMeaning(**value | {"events": tuple(types), "scale": float(scale)})


def _invalid(text: str) -> BundleInvalidError:
    return BundleInvalidError(f"{FILE}: {text}", code="objectives_value")
