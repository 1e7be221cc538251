"""Does the ranker help? Its gain over retrieval's order, paired, on lists it did not learn from.

With a blend (`blend.py`) it starts from the blend's order, so that it must improve on this one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.significance import paired_bootstrap
from pocketrec_training.ranker.candidate_lists import CandidateLists

LEAST_USERS = 500
"""With fewer the interval is too wide to decide anything: the report says so."""

Verdict = Literal["helps", "no clear gain", "hurts", "not decided", "learned nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerGain:
    """NDCG@10 of the ranker's order less that of retrieval's, on validation lists.

    Attributes:
        users: people whose lists were compared; the mean over a person's lists counts once.
        retrieval, ranker: mean NDCG@10 of the two orders.
        blend: mean NDCG@10 of the blend's order; None without a blend.
        difference, low, high: ranker - its start (the blend, else retrieval) with the paired 95%
            bootstrap interval.
        untrained: mean NDCG@10 of the formula over an untrained ranker, with objectives; it is then
            the start. All means are then DCG@10 of what items were worth, the formula over their
            outcomes, relative to the best order.
        verdict: "hurts" and "learned nothing" ship the start's order; so does "not decided" with a
            blend that was better. The others ship the ranker.
    """

    users: int
    retrieval: float
    ranker: float
    difference: float
    low: float
    high: float
    verdict: Verdict
    blend: float | None = None
    untrained: float | None = None

    @property
    def ships_ranker(self) -> bool:
        """Whether the trained ranker ships."""
        starts = self.blend is not None or self.untrained is not None
        if self.verdict == "not decided" and starts and self.difference < 0:
            return False
        return self.verdict not in ("hurts", "learned nothing")

    def sentence(self) -> str:
        """Return one line for the terminal, the report and the model card."""
        told = (
            f"ranker on {self.users} validation users it did not learn from: NDCG@10 "
            f"{self.ranker:.4f}, retrieval's order {self.retrieval:.4f}, "
        )
        start = "retrieval"
        if self.blend is not None:
            told, start = f"{told}the blend's order {self.blend:.4f}, ", "the blend"
        if self.untrained is not None:
            told, start = (
                f"{told}the untrained ranker {self.untrained:.4f}, ",
                "the untrained ranker",
            )
            told = told.replace(
                "NDCG@10 ", "DCG@10 of the realised score, relative to the best order, ", 1
            )
        told += f"difference {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        means = _MEANS[self.verdict].format(least=LEAST_USERS, start=start)
        if self.verdict == "not decided" and not self.ships_ranker:
            means += f", so the release keeps {start}'s order"
        return f"{told}; {means}"


_MEANS: dict[Verdict, str] = {
    "helps": "it helps",
    "no clear gain": "no clear gain (the interval includes 0)",
    "hurts": "it hurts, so the release keeps {start}'s order",
    "not decided": "not decided (fewer than {least} users)",
    "learned nothing": "no epoch beat {start}'s order on the validation lists (or no list holds "
    "what came next), so the release keeps {start}'s order",
}


def ranker_gain(
    scores: NDArray[np.float64],
    lists: CandidateLists,
    users: NDArray[np.int64],
    seed: int,
    *,
    learned: bool = True,
    blend: NDArray[np.float64] | None = None,
    untrained: NDArray[np.float64] | None = None,
    measure: Callable[[NDArray[np.float64]], Floats64] | None = None,
) -> RankerGain:
    """Compare the ranker's order of lists with retrieval's, or with the blend's.

    Args:
        scores: float64 [n, m], final scores of rankers that did not learn from these lists.
        lists: n validation lists, best by retrieval first.
        users: int64 [n], whose list each is.
        seed: of the bootstrap.
        learned: False if the ranker kept no epoch, so that its order is that of its start.
        blend: float64 [n, m], scores of blends that were not fitted on these lists.
        untrained: float64 [n, m], final scores of untrained rankers, with objectives.
        measure: quality of each list for scores [n, m]; None: NDCG@10 by the first head's labels.
    """

    def by_first_head(scores: NDArray[np.float64]) -> Floats64:
        return metrics.ndcg_by_list(scores, lists.labels[:, :, 0], lists.real)

    values = measure or by_first_head
    start = untrained if untrained is not None else blend
    retrieval = -np.broadcast_to(np.arange(lists.rows.shape[1], dtype=np.float64), scores.shape)
    _, at = np.unique(users, return_inverse=True)
    counts = np.maximum(np.bincount(at), 1)
    alone, one, two = (
        np.bincount(at, values(order)) / counts
        for order in (retrieval, retrieval if start is None else start, scores)
    )
    mixed = one if untrained is None or blend is None else np.bincount(at, values(blend)) / counts
    low, high = 0.0, 0.0
    if len(one):
        lows, highs = paired_bootstrap((two - one)[:, None], seed)
        low, high = float(lows[0]), float(highs[0])
    return RankerGain(
        users=len(one),
        retrieval=float(alone.mean()) if len(one) else 0.0,
        ranker=float(two.mean()) if len(two) else 0.0,
        difference=float((two - one).mean()) if len(one) else 0.0,
        low=low,
        high=high,
        verdict=_verdict(len(one), low, high) if learned else "learned nothing",
        blend=None if blend is None else float(mixed.mean()) if len(mixed) else 0.0,
        untrained=None if untrained is None else float(one.mean()) if len(one) else 0.0,
    )


def _verdict(users: int, low: float, high: float) -> Verdict:
    if users < LEAST_USERS:
        return "not decided"
    if high < 0:
        return "hurts"
    return "helps" if low > 0 else "no clear gain"
