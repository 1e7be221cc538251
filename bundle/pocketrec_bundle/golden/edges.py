"""Golden cases of histories and searches that real users seldom have; they run no model.

FORMAT.md, "golden_edges.json". Each case has the input of one stage and its exact output. They test
a client on unknown ids, clocks set back, pauses of exactly 30 minutes and withdrawn items.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, is_text, shown
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import MAX_VOCABULARY
from pocketrec_bundle.golden.form import (
    MAX_ROW,
    checked,
    is_row,
    is_string,
    list_of,
    past,
    plain,
    top,
)
from pocketrec_bundle.reader import Bundle

FILE = "golden_edges.json"
MAX_CASES = 200
FIRST = 20
"""Maximum number of expected candidates of a search."""
HOME, SIMILAR, AFTER, SEARCH = SCENES = ("home", "similar", "after", "search")
ZERO = -1
"""As `user_row`: the user's vector is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHistory:
    """A history, and the expected inputs of both models.

    Attributes:
        name: of the case, for people.
        now_utc: unix seconds of the request.
        item_ids: of the events, oldest first; unknown ids too.
        events: their event codes.
        ts: their unix seconds.
        user_row: the row whose vector is the user's; -1: the user's vector is zero.
        rows: candidates, in the order of retrieval.
        history_rows: expected; rows of the last L known events.
        history_events: expected; 1 + their event codes.
        history_ages_s: expected; seconds.
        context: expected; numbers in the order of the spec's `context`.
        pair: expected; for each candidate the numbers of the spec's `pair`.
    """

    name: str
    now_utc: int
    item_ids: tuple[str, ...]
    events: tuple[int, ...]
    ts: tuple[int, ...]
    user_row: int
    rows: tuple[int, ...]
    history_rows: tuple[int, ...] = ()
    history_events: tuple[int, ...] = ()
    history_ages_s: tuple[float, ...] = ()
    context: tuple[float, ...] = ()
    pair: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSearch:
    """A search, and its first candidates.

    Attributes:
        name: of the case, for people.
        now_utc: unix seconds of the request.
        item_ids: of the events, oldest first; unknown ids too.
        events: their event codes.
        ts: their unix seconds.
        user_row: the row whose vector is the user's; -1: the user's vector is zero.
        shown: rows of earlier pages.
        scene: one of `SCENES`.
        scene_ids: the item at hand of "similar" and "after", the app's results of "search".
        leave_out_had: whether items of the history are excluded; None: as the policy says.
        filters: None, or keys and values as in FORMAT.md, "golden_edges.json".
        candidates: expected; at most the first 20 rows.
        scores: expected; their retrieval scores.
    """

    name: str
    now_utc: int
    item_ids: tuple[str, ...]
    events: tuple[int, ...]
    ts: tuple[int, ...]
    user_row: int
    shown: tuple[int, ...] = ()
    scene: str = HOME
    scene_ids: tuple[str, ...] = ()
    leave_out_had: bool | None = None
    filters: Mapping[str, Any] | None = None
    candidates: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenEdges:
    """All cases of a release.

    Attributes:
        histories: cases of the models' inputs.
        searches: cases of candidates.
        unmade: cases that this release cannot show, for people.
        version: of `golden_edges.json`.
    """

    histories: tuple[EdgeHistory, ...]
    searches: tuple[EdgeSearch, ...]
    unmade: tuple[str, ...] = ()
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `golden_edges.json`."""
        return plain(asdict(self))

    @classmethod
    def of(cls, bundle: Bundle) -> "GoldenEdges | None":
        """Read the cases of a release; None if the release has no such file.

        Raises:
            BundleTooNewError, BundleInvalidError: see `from_json`; or a case does not fit the
                release.
        """
        if not bundle.lists(FILE):
            return None
        golden = cls.from_json(bundle.json(FILE))
        cases: list[EdgeHistory | EdgeSearch] = [*golden.histories, *golden.searches]
        for case in cases:
            if wrong := _unfit(case, bundle):
                where = f"{FILE}: {shown(case.name)}"
                raise BundleInvalidError(f"{where}: {wrong}", code="golden_release")
        return golden

    @classmethod
    def from_json(cls, value: object) -> "GoldenEdges":
        """Check parsed JSON and build the cases from it.

        Raises:
            BundleTooNewError: the version is later than 1.
            BundleInvalidError: the form is not that of version 1.
        """
        any_list = list_of(lambda _: True, MAX_CASES)
        keys = {"histories": any_list, "searches": any_list}
        content = top(FILE, value, {**keys, "unmade": list_of(is_text, MAX_CASES)})
        return cls(
            histories=tuple(map(_history, content["histories"])),
            searches=tuple(s for v in content["searches"] if (s := _search(v)) is not None),
            unmade=content["unmade"],
        )


_ROWS, _NUMBERS = list_of(is_row), list_of(is_number)
_HISTORY: dict[str, Callable[[object], bool]] = {
    "user_row": lambda v: is_integer(v, ZERO, MAX_ROW),
    "rows": _ROWS,
    "history_rows": _ROWS,
    "history_events": list_of(lambda v: is_integer(v, 1, MAX_VOCABULARY + 1)),
    "history_ages_s": _NUMBERS,
    "context": _NUMBERS,
    "pair": list_of(_NUMBERS),
}
_FILTERS: dict[str, Callable[[object], bool]] = {
    "ranges": list_of(lambda v: isinstance(v, dict)),
    "any_of": list_of(is_string),
    "none_of": list_of(is_string),
    "region": lambda v: v is None or is_string(v),
    "max_age_rating": lambda v: v is None or is_integer(v, 0, 255),
    "unrated": lambda v: type(v) is bool,
}
_RANGE: dict[str, Callable[[object], bool]] = {
    "column": is_string,
    "low": is_number,
    "high": is_number,
}
_SEARCH: dict[str, Callable[[object], bool]] = {
    "user_row": lambda v: is_integer(v, ZERO, MAX_ROW),
    "shown": _ROWS,
    "scene": is_text,
    "scene_ids": list_of(is_string),
    "leave_out_had": lambda v: v is None or isinstance(v, bool),
    "filters": lambda v: v is None or isinstance(v, dict),
    "candidates": list_of(is_row, FIRST),
    "scores": list_of(is_number, FIRST),
}


def _history(value: object) -> EdgeHistory:
    case = past(FILE, value, _HISTORY)
    lengths = {len(case[key]) for key in ("history_rows", "history_events", "history_ages_s")}
    if len(lengths) > 1 or len(case["pair"]) != len(case["rows"]):
        raise BundleInvalidError(
            f"{FILE}: {shown(case['name'])}: lengths differ", code="golden_value"
        )
    return EdgeHistory(**{**case, "pair": tuple(map(tuple, case["pair"]))})


def _search(value: object) -> EdgeSearch | None:
    """Check a case and return it; None if this app does not know its scene."""
    case = past(FILE, value, _SEARCH)
    where = f"{FILE}: {shown(case['name'])}"
    if len(case["candidates"]) != len(case["scores"]):
        raise BundleInvalidError(
            f"{where}: candidates and scores differ in length", code="golden_value"
        )
    if case["scene"] in (SIMILAR, AFTER) and not case["scene_ids"]:
        raise BundleInvalidError(f"{where}: no item at hand", code="golden_value")
    if case["scene"] not in SCENES:
        return None
    if case["filters"] is not None:
        filters = checked(f"{where}: filters", case["filters"], _FILTERS)
        ranges = tuple(checked(f"{where}: a range", each, _RANGE) for each in filters["ranges"])
        case["filters"] = {**filters, "ranges": ranges}
    return EdgeSearch(**case)


def _unfit(case: EdgeHistory | EdgeSearch, bundle: Bundle) -> str:
    """Return why a case does not fit a release, or ""."""
    spec, n = bundle.spec, bundle.item_count
    if max(case.events, default=0) >= len(spec.event_types):
        return "an event of no type"
    if isinstance(case, EdgeSearch):
        rows: tuple[int, ...] = (*case.shown, *case.candidates)
    else:
        rows = (*case.rows, *case.history_rows)
        if len(case.history_rows) > spec.max_history:
            return f"a history of more than {spec.max_history} events"
        if len(case.context) != len(spec.context):
            return f"not {len(spec.context)} numbers of context"
        if any(len(numbers) != len(spec.pair) for numbers in case.pair):
            return f"not {len(spec.pair)} numbers a candidate"
    if max(case.user_row, *rows, -1) >= n:
        return f"a row beyond the {n} items"
    return ""
