"""Replay a release's golden vectors on this device, with its own engine and files."""

import numpy as np

from bundle.features import History
from bundle.golden import Golden, GoldenCase
from bundle.reader import Bundle
from edge_runtime.errors import SelfTestFailed
from edge_runtime.pipeline import Recommender
from edge_runtime.slate import Slate


def golden_history(bundle: Bundle, case: GoldenCase) -> History:
    """Translate a golden case's history to rows; items of other releases are left out."""
    known = [
        (row, event, ts)
        for item_id, event, ts in zip(case.item_ids, case.events, case.ts, strict=True)
        if (row := bundle.row_of(item_id)) >= 0
    ]
    if not known:
        return History.empty()
    rows, events, ts = (np.array(column) for column in zip(*known, strict=True))
    return History(rows.astype(np.int32), events.astype(np.int32), ts.astype(np.int64))


def replay(bundle: Bundle, engine: str = "auto") -> int:
    """Run every golden case; returns how many there were.

    Raises:
        SelfTestFailed: a vector or score is off by more than the release's tolerance, or a slate
            differs where its scores do not nearly tie.
    """
    golden = Golden.of(bundle)
    recommender = Recommender(bundle, engine)
    for case in golden.cases:
        slate = recommender.recommend(
            golden_history(bundle, case), case.now_utc, len(case.slate_ids) or 1, policy_alone=True
        )
        check_slate(f"golden case {case.name!r} on {recommender.engine}", slate, case, golden)
    return len(golden.cases)


def check_slate(where: str, slate: Slate, case: GoldenCase, golden: Golden) -> None:
    """Hold an answer against a golden case's; `where` begins the error's text.

    Raises:
        SelfTestFailed: as `replay`.
    """
    if slate.fault:
        raise SelfTestFailed(f"{where}: {slate.fault}")
    off = float(np.abs(slate.user_vector - np.array(case.user_vector, np.float32)).max())
    if not off <= golden.vector_tolerance:
        raise SelfTestFailed(f"{where}: the user vector is off by {off:.2g}")
    scores = [item.score for item in slate.items]
    if len(scores) != len(case.slate_scores):
        raise SelfTestFailed(f"{where}: {len(scores)} items, not {len(case.slate_scores)}")
    off = max((abs(a - b) for a, b in zip(scores, case.slate_scores, strict=True)), default=0)
    if not off <= golden.score_tolerance:
        raise SelfTestFailed(f"{where}: a score is off by {off:.2g}")
    _check_order(where, [i.item_id for i in slate.items], case, golden.score_tolerance)


def _check_order(where: str, ids: list[str], case: GoldenCase, tolerance: float) -> None:
    """The same ids in the same order, except where expected scores nearly tie."""
    expected = dict(zip(case.slate_ids, case.slate_scores, strict=True))
    for place, item_id in enumerate(ids):
        score = expected.get(item_id, case.slate_scores[-1])
        if abs(score - case.slate_scores[place]) > tolerance:
            raise SelfTestFailed(f"{where}: place {place + 1} holds {item_id!r}")
