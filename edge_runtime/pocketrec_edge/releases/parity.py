"""Parity metrics of a model file against reference outputs, and hard inputs for robustness.

`pocketrec verify` and the export gates both use these definitions.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.objectives import Objectives, final_scores
from pocketrec_bundle.products import inner
from pocketrec_edge.engines.select import Engine

Inputs = dict[str, NDArray[Any]]
TOP = {"user_tower": 100, "ranker": 10}
"""Items to compare: the candidates of retrieval, the items of a slate."""
HUGE, DENORMAL = 1e9, 1e-42
_TIMED = 20
_TIE = 1e-6
_SMALLEST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityMetrics:
    """Parity of outputs with reference outputs.

    Attributes:
        max_error: maximum absolute error.
        mean_error: mean absolute error.
        cosine: minimum cosine of an output with its reference; 1 is best.
        overlap: share of the reference's first `TOP` items that are also chosen, mean over
            requests; 1 is best.
        rank_correlation: Spearman's, of the scores of all items or candidates, mean over requests;
            1 is best.
    """

    max_error: float
    mean_error: float
    cosine: float
    overlap: float
    rank_correlation: float


def compare_outputs(
    model: str,
    answers: Sequence[NDArray[Any]],
    truth: Sequence[NDArray[Any]],
    scores: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> ParityMetrics:
    """Compare a model file's outputs with reference outputs.

    Args:
        model: "user_tower" or "ranker".
        answers: outputs of the file, one per request.
        truth: reference outputs, of the same shapes.
        scores: for each request, scores [n] of items or candidates by output and by reference.
    """
    apart = np.concatenate([np.abs(a - b).ravel() for a, b in zip(answers, truth, strict=True)])
    return ParityMetrics(
        max_error=float(apart.max()),
        mean_error=float(apart.mean()),
        cosine=min(cosine(a, b) for a, b in zip(answers, truth, strict=True)),
        overlap=float(np.mean([overlap(a, b, TOP[model]) for a, b in scores])),
        rank_correlation=float(np.mean([spearman(a, b) for a, b in scores])),
    )


def hard_inputs(model: str, ordinary: Inputs) -> dict[str, Inputs]:
    """Return hard inputs by name, made from ordinary ones; outputs must stay finite."""
    floats = [name for name, value in ordinary.items() if value.dtype == np.float32]

    def filled(value: float) -> Inputs:
        return {n: np.full_like(v, value) if n in floats else v for n, v in ordinary.items()}

    found = {"zeros": filled(0.0), "denormals": filled(DENORMAL)}
    if model == "user_tower":
        full = np.full_like(ordinary["history_length"], ordinary["history_events"].shape[1])
        long_ago = np.full_like(ordinary["history_ages_s"], HUGE)
        found |= {
            "empty history": {n: np.zeros_like(v) for n, v in ordinary.items()},
            "full history": {**ordinary, "history_length": full},
            "very old events": {**ordinary, "history_ages_s": long_ago},
            "long vectors": {**ordinary, "history_vectors": ordinary["history_vectors"] * 1e3},
        }
        return found
    one = {
        name: value if len(value) == 1 else np.concatenate([value[:1], np.zeros_like(value[1:])])
        for name, value in ordinary.items()
    }
    numbers = ("context", "pair", "item_numeric", "item_numbers")
    everything = {n: np.full_like(ordinary[n], HUGE) for n in numbers if n in ordinary}
    nothing = {n: np.full_like(v, -1) for n, v in everything.items()}
    return found | {
        "one candidate": one,
        "huge numbers": {**ordinary, **everything},
        "all unknown": {**ordinary, **nothing},
    }


def ranked(
    spec: FeatureSpec, objectives: Objectives | None, inputs: Inputs, answer: NDArray[Any]
) -> NDArray[Any]:
    """Return the final score of each candidate without padding, float32 [n]."""
    real = inputs["item_vectors"].any(axis=1)
    return final_scores(spec, objectives, answer[real], inputs["item_numeric"][real]).scores


def cosine(one: NDArray[Any], two: NDArray[Any]) -> float:
    """Return the cosine of two arrays as flat vectors."""
    a, b = one.ravel().astype(np.float64), two.ravel().astype(np.float64)
    lengths = np.sqrt(inner(a[None], a) * inner(b[None], b))
    return float(inner(a[None], b)[0] / max(float(lengths[0]), 1e-30))


def overlap(one: NDArray[Any], two: NDArray[Any], k: int) -> float:
    """Return the share of the top k that both scores [n] have in common."""
    k = min(k, len(one))
    first, second = (np.argsort(-scores, kind="stable")[:k] for scores in (one, two))
    return len(np.intersect1d(first, second)) / k


def spearman(one: NDArray[Any], two: NDArray[Any]) -> float:
    """Return Spearman's rank correlation with mean ranks for ties; 1 if either side is constant.

    Scores that differ by less than a millionth of their range tie, because their order is noise.
    Positive scores are compared by their logarithms, down to a millionth of the largest: where one
    item is nearly certain, steps of the range would tie unlike scores, and an equal model in fp32
    had a correlation of .98.
    """
    if min(one.min(initial=0.0), two.min(initial=0.0)) >= 0.0:
        one, two = _logarithms(one), _logarithms(two)
    first, second = _ranks(one), _ranks(two)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 1.0
    return float(np.asarray(np.corrcoef(first, second))[0, 1])


def _logarithms(scores: NDArray[Any]) -> NDArray[np.float64]:
    floor = max(float(scores.max(initial=0.0)) * _TIE, _SMALLEST)
    found: NDArray[np.float64] = np.log(np.maximum(scores, floor, dtype=np.float64))
    return found


def _ranks(scores: NDArray[Any]) -> NDArray[np.float64]:
    step = max(float(np.ptp(scores)) * _TIE, 1e-30)
    _, at, counts = np.unique(
        np.round(scores.astype(np.float64) / step), return_inverse=True, return_counts=True
    )
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[at]
    return ranks


def median_ms(engine: Engine, inputs: Inputs) -> float:
    """Return the median latency of 20 runs, in milliseconds."""
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        engine.run(inputs)
        times.append((time.perf_counter() - start) * 1000)
    return float(np.median(times))
