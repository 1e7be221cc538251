"""Golden vectors: inputs and expected outputs by which any client proves itself right."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from bundle.errors import BundleInvalid
from bundle.files import canonical_json

MAX_CASES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One recommendation request and what the reference device answered.

    item_ids, events and ts are the history, oldest first (events: index into `event_types`);
    user_vector: d floats; candidates: the first retrieved rows, best first; slate_ids and
    slate_scores: the final answer.
    """

    name: str
    now_utc: int
    item_ids: tuple[str, ...]
    events: tuple[int, ...]
    ts: tuple[int, ...]
    user_vector: tuple[float, ...]
    candidates: tuple[int, ...]
    slate_ids: tuple[str, ...]
    slate_scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """All cases, and the largest absolute error allowed in a user vector and in a score."""

    cases: tuple[GoldenCase, ...]
    vector_tolerance: float
    score_tolerance: float
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `golden.json`."""
        value: dict[str, Any] = json.loads(canonical_json(asdict(self)))  # tuples to lists
        return value

    @classmethod
    def from_json(cls, value: object) -> "Golden":
        """Check and build golden vectors from parsed JSON.

        Raises:
            BundleInvalid: the form is not that of version 1.
        """
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalid("golden.json: keys differ from version 1")
        cases = value["cases"]
        if value["version"] != 1 or not isinstance(cases, list) or len(cases) > MAX_CASES:
            raise BundleInvalid(f"golden.json: version 1 with at most {MAX_CASES} cases expected")
        try:
            return cls(
                cases=tuple(_case(case) for case in cases),
                vector_tolerance=float(value["vector_tolerance"]),
                score_tolerance=float(value["score_tolerance"]),
            )
        except (TypeError, KeyError, ValueError, AttributeError) as err:
            raise BundleInvalid(f"golden.json: bad case ({err})") from err


def _case(value: dict[str, Any]) -> GoldenCase:
    if value.keys() != GoldenCase.__dataclass_fields__.keys():
        raise ValueError(f"keys {sorted(value)}")
    case = GoldenCase(
        name=str(value["name"]),
        now_utc=int(value["now_utc"]),
        item_ids=tuple(map(str, value["item_ids"])),
        events=tuple(map(int, value["events"])),
        ts=tuple(map(int, value["ts"])),
        user_vector=tuple(map(float, value["user_vector"])),
        candidates=tuple(map(int, value["candidates"])),
        slate_ids=tuple(map(str, value["slate_ids"])),
        slate_scores=tuple(map(float, value["slate_scores"])),
    )
    if not len(case.item_ids) == len(case.events) == len(case.ts):
        raise ValueError(f"{case.name}: the history's columns differ in length")
    return case
