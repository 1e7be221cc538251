"""Run the model-free golden cases of a release and compare the results with the expected ones.

The cases are histories and searches of `golden_edges.json`, and slates and titles of
`golden_rules.json`. `stages.py` uses the same comparison.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.golden.edges import FIRST, ZERO, EdgeHistory, EdgeSearch, GoldenEdges
from pocketrec_edge.faults import Fault
from pocketrec_edge.recommend.filters import Filters, Range
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.surfaces import find
from pocketrec_edge.releases.golden_history import golden_history

RELATIVE = 1e-4
"""Relative tolerance: float32 has seven digits; sums in another order agree in about five."""
STAGES = ("history_rows", "history_events", "history_ages_s", "context", "pair")
NAMED = ("context", "pair")
"""Stages whose columns have names in the spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of one stage of one case.

    Attributes:
        stage: name of the stage, such as "edges/context".
        case: name of the case.
        share: largest error as a share of the tolerance; more than 1 fails.
        note: the difference, "" if it passes.
    """

    stage: str
    case: str
    share: float
    note: str = ""


def compare(stage: str, case: str, found: Any, expected: Any, name: str = "") -> Comparison:
    """Compare numbers or texts of any shape; the note calls them `name`."""
    one, two = np.asarray(found), np.asarray(expected)
    if one.shape != two.shape:
        share = float("inf")
    elif two.dtype.kind == "f":
        apart = np.abs(one - two) / (RELATIVE * (1 + np.abs(two)))
        share = float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))
    else:
        share = 0.0 if (one == two).all() else float("inf")
    label = name or stage.rpartition("/")[2]
    wrong = "" if share <= 1 else f"{label} is {_short(one)}, not {_short(two)}"
    return Comparison(stage=stage, case=case, share=share, note=wrong)


def _columns(names: tuple[str, ...], found: Any, expected: Any) -> str:
    """Return the wrong columns as text; "" if the shapes differ."""
    one, two = np.atleast_2d(found), np.atleast_2d(expected)
    if one.shape != two.shape or one.shape[1] != len(names):
        return ""
    parts = (compare("", "", a, b, name) for name, a, b in zip(names, one.T, two.T, strict=True))
    return "; ".join(part.note for part in parts if part.note)


def _short(value: NDArray[Any]) -> str:
    text = str(value.tolist())
    return text if len(text) <= 80 else f"{text[:80]}..."


def history_numbers(device: Recommender, case: EdgeHistory) -> dict[str, NDArray[Any]]:
    """Return this device's arrays for a history, by `STAGES`."""
    past = golden_history(device.bundle, case)
    query = Query(past, case.now_utc)
    tower = device.tower_inputs(query)
    n = int(tower["history_length"][0])
    rows = np.array(case.rows, np.int32)
    vectors = device.index.vectors(rows)
    user = _user(device, case.user_row)
    features = device.ranker_inputs(query, user, rows, vectors)
    return {
        "history_rows": used_rows(device.spec, past),
        "history_events": tower["history_events"][0, :n],
        "history_ages_s": tower["history_ages_s"][0, :n],
        "context": features["context"][0],
        "pair": features["pair"],
    }


def answered_history(device: Recommender, case: EdgeHistory) -> EdgeHistory:
    """Return the case with this device's results."""
    found = history_numbers(device, case)
    return replace(
        case,
        history_rows=tuple(found["history_rows"].tolist()),
        history_events=tuple(found["history_events"].tolist()),
        history_ages_s=shortest(found["history_ages_s"]),
        context=shortest(found["context"]),
        pair=tuple(map(shortest, found["pair"])),
    )


def first_candidates(device: Recommender, case: EdgeSearch) -> tuple[NDArray[np.int32], Floats32]:
    """Return this device's first candidates and their scores."""
    past = golden_history(device.bundle, case)
    faults: list[Fault] = []
    at_hand = case.scene_ids[0] if case.scene_ids else None
    surface = find(device.bundle, case.scene, at_hand, case.scene_ids, faults)
    mask = device.filter_masks.of(filters_of(case.filters))
    query = Query(past, case.now_utc, exclude_seen=case.leave_out_had, surface=surface)
    excluded = device.excluded(query, mask)
    excluded[np.array(case.shown, np.int64)] = True
    nprobe = mask.cells(device.policy.probes)
    user = _user(device, case.user_row)
    rows, _, scores = device.candidates(query, user, excluded, nprobe=nprobe)
    return rows[:FIRST], scores[:FIRST]


def answered_search(device: Recommender, case: EdgeSearch) -> EdgeSearch:
    """Return the case with this device's candidates."""
    rows, scores = first_candidates(device, case)
    return replace(case, candidates=tuple(rows.tolist()), scores=shortest(scores))


def filters_of(value: Mapping[str, Any] | None) -> Filters | None:
    """Return the filters of a case."""
    if value is None:
        return None
    ranges = tuple(Range(**each) for each in value["ranges"])
    sets = {key: tuple(value[key]) for key in ("any_of", "none_of")}
    return Filters(**{**value, **sets, "ranges": ranges})


def shortest(numbers: Floats32) -> tuple[float, ...]:
    """Return float32 numbers as the shortest decimals that round-trip."""
    return tuple(map(float, map(str, numbers)))


def _user(device: Recommender, row: int) -> Floats32:
    if row == ZERO:
        return np.zeros(device.spec.dim, np.float32)
    found: NDArray[np.float32] = device.index.vectors(np.array([row], np.int32))[0]
    return found


def check_edges(device: Recommender, golden: GoldenEdges) -> Iterator[Comparison]:
    """Run every history and search."""
    for case in golden.histories:
        for stage, found in history_numbers(device, case).items():
            expected = getattr(case, stage)
            made = compare(f"edges/{stage}", case.name, found, expected or found[:0])
            if made.share > 1 and stage in NAMED:
                note = _columns(getattr(device.spec, stage), found, expected)
                made = replace(made, note=note or made.note)
            yield made
    for search in golden.searches:
        rows, scores = first_candidates(device, search)
        yield compare("edges/candidates", search.name, scores, search.scores, "scores")
        one, two = _untied(search, rows.tolist())
        yield compare("edges/candidates", search.name, one, two)


def _untied(expected: EdgeSearch, found: list[int]) -> tuple[list[int], list[int]]:
    """Return the rows to compare; near ties may swap, unless the user's vector is 0."""
    wanted = list(expected.candidates)
    if found == wanted or expected.user_row == ZERO or len(found) != len(wanted):
        return found, wanted
    scores = np.array(expected.scores)
    near = np.abs(np.diff(scores)) <= RELATIVE * (1 + np.abs(scores[1:]))
    # What follows the last of a full list is unknown, so it may tie.
    free = np.append(near, len(scores) >= FIRST) | np.insert(near, 0, False)
    kept = [at for at, tied in enumerate(free[: len(wanted)].tolist()) if not tied]
    return [found[at] for at in kept], [wanted[at] for at in kept]
