"""Golden vectors of every stage, to find the first stage at which a client goes wrong.

`golden.json` holds requests and final answers. The arrays `golden/STAGE` hold, in the same order of
cases, the output of each stage for the expected output of the previous stage.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.features import FeatureSpec, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.features import GoldenFeatures
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.objectives import final_scores
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query, RankedCandidates
from pocketrec_edge.releases.golden_edges import Comparison, check_edges
from pocketrec_edge.releases.golden_features import check_features
from pocketrec_edge.releases.golden_history import golden_history
from pocketrec_edge.releases.golden_rules import check_rules

Arrays = dict[str, NDArray[Any]]
FIRST = 20
"""Candidates stored per case."""

NONE = -1
"""Row number that pads a history or a list of candidates."""

ROWS = ("history_rows", "candidates", "slate")
_RELATIVE = 1e-4
"""Relative tolerance: float32 has seven digits; sums in another order agree in about five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCheck:
    """One stage of the device path: largest error over all cases, as a share of the tolerance."""

    stage: str
    of_tolerance: float
    passed: bool
    note: str = ""


def shapes(
    spec: FeatureSpec, cases: int, *, ruled: bool = False
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of each file `golden/STAGE`, see FORMAT.md."""
    length = spec.max_history
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "history_rows": ("i4", (cases, length)),
        "history_events": ("i4", (cases, length)),
        "history_ages_s": ("f4", (cases, length)),
        "history_length": ("i4", (cases,)),
        "user_vector": ("f4", (cases, spec.dim)),
        "candidates": ("i4", (cases, FIRST)),
        "candidate_scores": ("f4", (cases, FIRST)),
        "context": ("f4", (cases, len(spec.context))),
        "pair": ("f4", (cases, FIRST, len(spec.pair))),
        "probabilities": ("f4", (cases, FIRST, len(spec.heads))),
    }
    return found | ({"slate": ("i4", (cases, FIRST))} if ruled else {})


def _shapes(bundle: Bundle, golden: Golden) -> dict[str, tuple[str, tuple[int, ...]]]:
    ruled = bundle.rules is not None
    return shapes(bundle.spec, len(golden.cases), ruled=ruled)


def record(device: Recommender, golden: Golden, expected: Arrays | None = None) -> Arrays:
    """Run all golden cases stage by stage; return the arrays by stage.

    Args:
        device: recommender of the release.
        golden: the cases; retrieval and features start from their user vectors.
        expected: recorded arrays. With them the user tower runs too, and the ranker reads their
            features instead of the device's own. None to record.

    Raises:
        EngineError: a model does not run.
    """
    found: Arrays = {
        stage: np.full(shape, NONE if stage in ROWS else 0, code)
        for stage, (code, shape) in _shapes(device.bundle, golden).items()
    }
    for at, case in enumerate(golden.cases):
        before = None if expected is None else {name: a[at] for name, a in expected.items()}
        for stage, value in _record(device, case, before).items():
            if found[stage].ndim == 1:
                found[stage][at] = value
            else:
                found[stage][at, : len(value)] = value
    return found


def _record(device: Recommender, case: GoldenCase, expected: Arrays | None) -> Arrays:
    history = golden_history(device.bundle, case)
    query = Query(history, case.now_utc)
    tower = device.tower_inputs(query)
    user = np.array(case.user_vector, np.float32)
    rows, vectors, scores = device.candidates(query, user, device.excluded(query))
    features = device.ranker_inputs(query, user, rows, vectors)
    first = {
        name: value if name in ("user_vector", "context") else value[:FIRST]
        for name, value in features.items()
    }
    if expected is not None:
        kept = expected["candidates"][expected["candidates"] != NONE]
        first |= {
            "item_vectors": device.index.vectors(kept),
            **device.items.of_rows(kept),
            "context": expected["context"][None],
            "pair": expected["pair"][: len(kept)],
        }
    none = np.zeros((0, len(device.spec.heads)), np.float32)
    answer = device.probabilities(first) if len(first["pair"]) else none
    recorded = {
        "history_rows": used_rows(device.spec, history),
        "history_events": tower["history_events"][0],
        "history_ages_s": tower["history_ages_s"][0],
        "history_length": tower["history_length"][0],
        "user_vector": user if expected is None else device.user_vector(query),
        "candidates": rows[:FIRST],
        "candidate_scores": scores[:FIRST],
        "context": features["context"][0],
        "pair": features["pair"][:FIRST],
        "probabilities": answer,
    }
    if device.bundle.rules is not None:
        if expected is not None:
            rows, answer = kept, expected["probabilities"][: len(kept)]
        recorded["slate"] = _ruled(device, query, rows[:FIRST], answer)
    return recorded


def _ruled(
    device: Recommender, query: Query, rows: NDArray[Any], probabilities: Floats32
) -> NDArray[Any]:
    """Return the slate's rows by the rules from the first candidates, without exploration."""
    rules = device.bundle.rules
    assert rules is not None, "only releases with rules have this stage"
    numeric = np.asarray(device.items.numeric[rows], np.float32)
    objectives = device.bundle.objectives
    scores = final_scores(device.spec, objectives, probabilities, numeric).scores
    first = replace(query, k=min(device.policy.slate, FIRST))
    ranked = RankedCandidates.by_retrieval(rows, device.index.vectors(rows), scores)
    found = device.apply_rules(first, ranked, rules)
    return rows[found.positions]


def read_stages(bundle: Bundle, golden: Golden) -> Arrays | None:
    """Return a release's stage arrays; None for releases without them (older exporters).

    Raises:
        BundleInvalidError: an array is missing, or does not fit the spec and the golden cases.
    """
    names = {entry.name for entry in bundle.manifest.files}
    if not any(name.startswith("golden/") for name in names):
        return None
    found = {}
    for stage, (code, shape) in _shapes(bundle, golden).items():
        array = bundle.array(f"golden/{stage}")
        if array.dtype.str[1:] != code or array.shape != shape:
            raise BundleInvalidError(
                f"golden/{stage}: not {code}{list(shape)}", code="golden_array"
            )
        found[stage] = array
    for stage in found.keys() & {*ROWS}:
        rows = found[stage]
        if rows.size and not NONE <= int(rows.min()) <= int(rows.max()) < bundle.item_count:
            raise BundleInvalidError(
                f"golden/{stage}: a row outside the catalogue", code="golden_array"
            )
    return found


def check_cases(device: Recommender) -> list[StageCheck]:
    """Run the edge cases, the rules' slates and the cases of features; return a check per stage.

    Raises:
        BundleInvalidError: the cases are malformed.
    """
    found: list[Comparison] = []
    if (edges := GoldenEdges.of(device.bundle)) is not None:
        found += check_edges(device, edges)
    if (rules := GoldenRules.of(device.bundle)) is not None:
        found += check_rules(rules)
    if (features := GoldenFeatures.of(device.bundle)) is not None:
        found += check_features(device, features)
    worst: dict[str, Comparison] = {}
    for one in found:
        if one.stage not in worst or one.share > worst[one.stage].share:
            worst[one.stage] = one
    return [
        StageCheck(
            stage=one.stage,
            of_tolerance=one.share,
            passed=one.share <= 1,
            note=f"golden case {one.case!r}: {one.note}" if one.note else "",
        )
        for one in worst.values()
    ]


def check_stages(device: Recommender, golden: Golden, expected: Arrays) -> list[StageCheck]:
    """Run every stage from the expected output of the previous stage; return the checks in order.

    Candidates are compared by their scores, which show every difference but a tie.

    Raises:
        EngineError: a model does not run.
    """
    found = record(device, golden, expected)
    same = found["candidates"] == expected["candidates"]  # a tie may swap two of them
    checks = []
    for stage, wanted in expected.items():
        if stage == "candidates":
            continue
        apart = np.abs(found[stage].astype(np.float64) - wanted)
        allowed = _RELATIVE * (1 + np.abs(wanted.astype(np.float64)))
        if stage == "user_vector":
            allowed = np.full_like(allowed, golden.vector_tolerance)
        elif stage == "probabilities":
            allowed = np.full_like(allowed, golden.score_tolerance)
        elif stage in ROWS:
            allowed = np.full_like(allowed, 0.5)  # a row is right or wrong
        elif stage == "pair":
            apart = np.where(same[..., None], apart, 0.0)
        shares = (apart / allowed).reshape(len(golden.cases), -1).max(axis=1, initial=0.0)
        worst = int(np.argmax(shares)) if len(shares) else 0
        share = float(shares[worst]) if len(shares) else 0.0
        passed = share <= 1.0
        note = "" if passed else f"golden case {golden.cases[worst].name!r}"
        checks.append(StageCheck(stage=stage, of_tolerance=share, passed=passed, note=note))
    return checks
