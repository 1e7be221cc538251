"""Answer held-out cases on the device's own code: the items that a phone would show."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History
from pocketrec_edge.faults import joined
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.rules.exploration import Random
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import NOBODY
from pocketrec_training.monitoring.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came out.

    slate, retrieval: 0-based place of each target after re-ranking and in the order of the index,
    int64, parallel to `Cases.targets`; k: not shown. scores, taken, owners: of each candidate its
    final score, float32, whether it is a target, bool, and its case, int64. lists: int32 [n, k],
    rows of the release, NOBODY where a slate is shorter. rerank_ms: float64 [n], of the last stage.
    sources: what made the slates, and how many of each kind.
    """

    slate: NDArray[np.int64]
    retrieval: NDArray[np.int64]
    scores: NDArray[np.float32]
    taken: NDArray[np.bool_]
    owners: NDArray[np.int64]
    lists: NDArray[np.int32]
    rerank_ms: NDArray[np.float64]
    sources: Mapping[str, int]

    def auc(self) -> float:
        """Return ROC-AUC over all candidates of all cases; nan if no target was retrieved."""
        return metrics.roc_auc(self.taken, self.scores)

    def ndcg(self, cases: Cases, k: int) -> float:
        """Return the mean NDCG@k of the slates."""
        return float(self.ndcg_of_each(cases, k).mean())

    def ndcg_of_each(self, cases: Cases, k: int) -> NDArray[np.float64]:
        """Return NDCG@k of each slate, float64 [n]."""
        return metrics.at_k(self.slate, k, cases.offsets)[f"ndcg@{k}"]


def answer(
    device: Recommender,
    data: Dataset,
    cases: Cases,
    k: int,
    told: str,
    rng: Random | None = None,
    showings: Mapping[str, int] | None = None,
    *,
    cold_start: bool = False,
) -> Answers:
    """Ask for a slate of `k` for each case, at the moment of its first held-out event.

    Args:
        device: of a release that was made of the data set.
        data: gives the histories.
        cases: in `new_to_user` the items of the history are left out, in `all` they are not.
        k: length of the slates.
        told: what the progress bar says.
        rng: for a release that explores; None: it does not.
        showings: of each campaign before each case; None: nothing is sponsored.
        cold_start: whether the lists of the release may answer an empty history.

    Raises:
        PocketRecError: a model does not run, so that another path would have answered.
    """
    rows = np.array([device.bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    new_only = cases.setting == "new_to_user"
    slate: list[int] = []
    retrieval: list[int] = []
    scores, taken = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    lists = np.full((len(cases), k), NOBODY, np.int32)
    rerank_ms = np.zeros(len(cases))
    sources: Counter[str] = Counter()
    with Progress(f"{told}, {cases.setting}", len(cases)) as bar:
        for done, (user, end) in enumerate(cases.pairs, 1):
            past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
            history = History(rows[past.rows], past.events, past.ts)
            found = device.recommend(
                Query(history, now, k, exclude_seen=new_only, rng=rng, showings=showings)
            )
            sources[found.source] += 1
            listed = cold_start and not end
            if (found.faults or found.source != "model") and not listed:
                raise PocketRecError(f"{told}: {found.source}, {joined(found.faults)}")
            wanted = rows[cases.targets_of(done - 1)]
            shown = [item.row for item in found.items]
            lists[done - 1, : len(shown)] = shown
            rerank_ms[done - 1] = found.stage_ms["rerank"]
            slate += _places(shown, wanted.tolist(), k)
            retrieval += _places(found.candidates[:k].tolist(), wanted.tolist(), k)
            scores.append(found.scores)
            taken.append(np.isin(found.candidates, wanted))
            bar.advance(done)
    return Answers(
        slate=np.array(slate, np.int64),
        retrieval=np.array(retrieval, np.int64),
        scores=np.concatenate(scores),
        taken=np.concatenate(taken),
        owners=np.repeat(np.arange(len(cases)), [len(one) for one in scores[1:]]),
        lists=lists,
        rerank_ms=rerank_ms,
        sources=sources,
    )


def _places(shown: list[int], wanted: list[int], k: int) -> list[int]:
    return [shown.index(row) if row in shown else k for row in wanted]
