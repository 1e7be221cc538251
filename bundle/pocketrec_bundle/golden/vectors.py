"""Golden vectors: requests with expected answers, which prove that a client is right."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    refuse_newer,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import MAX_VOCABULARY
from pocketrec_bundle.golden.form import plain
from pocketrec_bundle.reader import Bundle

MAX_CASES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCase:
    """One request and the answer of the reference device.

    Attributes:
        name: of the case, for people.
        now_utc: unix seconds of the request.
        item_ids: of the events, oldest first.
        events: their event codes, indexes into `event_types`.
        ts: their unix seconds.
        user_vector: expected; d floats.
        candidates: expected; the first rows handed to the ranker, best first.
        slate_ids: expected; ids of the slate.
        slate_scores: expected; their final scores.
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
    """All cases of a release.

    Attributes:
        cases: requests with answers.
        vector_tolerance: largest allowed absolute error of a number of a user vector.
        score_tolerance: largest allowed absolute error of a score.
        version: of `golden.json`.
    """

    cases: tuple[GoldenCase, ...]
    vector_tolerance: float
    score_tolerance: float
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `golden.json`."""
        return plain(asdict(self))

    @classmethod
    def of(cls, bundle: Bundle) -> "Golden":
        """Read the cases of a release, and check that they fit its other files.

        Raises:
            BundleInvalidError: the file is missing or not of version 1, or a case does not fit.
        """
        golden = cls.from_json(bundle.json("golden.json"))
        spec = bundle.spec
        for case in golden.cases:
            if len(case.user_vector) != spec.dim:
                raise BundleInvalidError(
                    f"golden.json: {shown(case.name)}: not {spec.dim} numbers a vector",
                    code="golden_release",
                )
            if max(case.events, default=0) >= len(spec.event_types):
                raise BundleInvalidError(
                    f"golden.json: {shown(case.name)}: an event of no type", code="golden_release"
                )
            if max(case.candidates, default=-1) >= bundle.item_count:
                raise BundleInvalidError(
                    f"golden.json: {shown(case.name)}: a candidate that is not an item",
                    code="golden_release",
                )
        return golden

    @classmethod
    def from_json(cls, value: object) -> "Golden":
        """Check and build golden vectors from parsed JSON.

        Raises:
            BundleInvalidError: the form is not that of version 1.
        """
        refuse_newer("golden.json", value)
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError("golden.json: keys differ from version 1", code="golden_keys")
        if not is_integer(value["version"], 1, 1):
            raise BundleInvalidError(
                f"golden.json: version {shown(value['version'])} is not 1", code="golden_value"
            )
        for key in ("vector_tolerance", "score_tolerance"):
            if not is_number(value[key], 0.0):
                raise BundleInvalidError(
                    f"golden.json: {key} must be a number from 0", code="golden_value"
                )
        cases = value["cases"]
        if not isinstance(cases, list) or len(cases) > MAX_CASES:
            raise BundleInvalidError(
                f"golden.json: cases must be a list of at most {MAX_CASES}", code="golden_value"
            )
        return cls(**{**value, "cases": tuple(map(_case, cases))})


_IS_RIGHT: dict[str, Callable[[object], bool]] = {
    "item_ids": lambda v: isinstance(v, str),
    "events": lambda v: is_integer(v, 0, MAX_VOCABULARY),
    "ts": lambda v: is_integer(v, -MAX_UTC, MAX_UTC),
    "user_vector": is_number,
    "candidates": lambda v: is_integer(v, 0, 2**31 - 1),
    "slate_ids": lambda v: isinstance(v, str),
    "slate_scores": is_number,
}
"""Checks of the elements of a case's lists."""


def _case(value: object) -> GoldenCase:
    if not isinstance(value, dict) or value.keys() != GoldenCase.__dataclass_fields__.keys():
        raise BundleInvalidError(
            "golden.json: a case lacks keys or has unknown ones", code="golden_keys"
        )
    if not is_text(value["name"]) or not is_integer(value["now_utc"], -MAX_UTC, MAX_UTC):
        raise BundleInvalidError(
            "golden.json: a case has a bad name or now_utc", code="golden_value"
        )
    where = f"golden.json: {shown(value['name'])}"
    for key, is_right in _IS_RIGHT.items():
        if not isinstance(value[key], list) or not all(map(is_right, value[key])):
            raise BundleInvalidError(
                f"{where}: {key} is not a list, or has a wrong element",
                code="golden_value",
            )
    if not len(value["item_ids"]) == len(value["events"]) == len(value["ts"]):
        raise BundleInvalidError(
            f"{where}: the history's columns differ in length", code="golden_value"
        )
    if len(value["slate_ids"]) != len(value["slate_scores"]):
        raise BundleInvalidError(
            f"{where}: the slate's columns differ in length", code="golden_value"
        )
    if value["ts"] != sorted(value["ts"]):
        raise BundleInvalidError(
            f"{where}: the history is not in order of time", code="golden_value"
        )
    fields: dict[str, Any] = {
        key: tuple(entry) if isinstance(entry, list) else entry for key, entry in value.items()
    }
    return GoldenCase(**fields)
