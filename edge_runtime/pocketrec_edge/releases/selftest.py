"""Replay a release's golden vectors on this device, with its own engine and files.

The requests of `golden.json` run through the models. The edge cases of `golden_edges.json` and the
rules of `golden_rules.json` need no model.
"""

from collections.abc import Iterable

import numpy as np

from pocketrec_bundle.golden.edges import GoldenEdges
from pocketrec_bundle.golden.rules import FILE as RULES_FILE
from pocketrec_bundle.golden.rules import GoldenRules
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.faults import joined
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.slate import Slate
from pocketrec_edge.releases.golden_edges import Comparison, check_edges
from pocketrec_edge.releases.golden_history import golden_history
from pocketrec_edge.releases.golden_rules import check_rules


def replay(bundle: Bundle, engine: str = "auto") -> int:
    """Run every golden case; return the number of requests.

    Raises:
        SelfTestFailedError: a vector or score exceeds the release's tolerance, a slate differs
            without a near tie, or an edge case or a rule's slate differs.
    """
    golden = Golden.of(bundle)
    recommender = Recommender(bundle, engine)
    replay_requests(recommender, golden)
    if (edges := GoldenEdges.of(bundle)) is not None:
        expect_right(check_edges(recommender, edges))
    replay_rules(bundle)
    return len(golden.cases)


def replay_requests(device: Recommender, golden: Golden) -> None:
    """Run the requests of `golden.json` through the models and the policy.

    Raises:
        SelfTestFailedError: as `replay`.
    """
    for case in golden.cases:
        past, k = golden_history(device.bundle, case), len(case.slate_ids) or 1
        slate = device.recommend(Query(past, case.now_utc, k, policy_alone=True))
        check_slate(f"golden case {case.name!r} on {device.engine}", slate, case, golden)


def replay_rules(bundle: Bundle) -> None:
    """Check the rules' golden slates, once per process and file, as they do not depend on releases.

    Raises:
        SelfTestFailedError: as `replay`.
    """
    if not bundle.lists(RULES_FILE):
        return
    sha256 = bundle.manifest.entry(RULES_FILE).sha256
    if sha256 not in _rules_passed and (golden := GoldenRules.of(bundle)) is not None:
        expect_right(check_rules(golden))
        _rules_passed.add(sha256)


_rules_passed: set[str] = set()
"""SHA-256 of the golden rule files that passed in this process; a check takes 10 ms."""


def expect_right(found: Iterable[Comparison]) -> None:
    """Raise at the first stage that is wrong.

    Raises:
        SelfTestFailedError: a stage is wrong; the message has case, stage and values.
    """
    for one in found:
        if not one.share <= 1:
            raise SelfTestFailedError(f"golden case {one.case!r}, {one.stage}: {one.note}")


def check_slate(where: str, slate: Slate, case: GoldenCase, golden: Golden) -> None:
    """Compare a slate with a golden case; the error message begins with `where`.

    Raises:
        SelfTestFailedError: as `replay`.
    """
    if slate.faults:
        raise SelfTestFailedError(f"{where}: {joined(slate.faults)}")
    off = float(np.abs(slate.user_vector - np.array(case.user_vector, np.float32)).max())
    if not off <= golden.vector_tolerance:
        raise SelfTestFailedError(f"{where}: the user vector is off by {off:.2g}")
    scores = [item.score for item in slate.items]
    if len(scores) != len(case.slate_scores):
        raise SelfTestFailedError(f"{where}: {len(scores)} items, not {len(case.slate_scores)}")
    off = max((abs(a - b) for a, b in zip(scores, case.slate_scores, strict=True)), default=0)
    if not off <= golden.score_tolerance:
        raise SelfTestFailedError(f"{where}: a score is off by {off:.2g}")
    _check_order(where, [i.item_id for i in slate.items], case, golden.score_tolerance)


def _check_order(where: str, ids: list[str], case: GoldenCase, tolerance: float) -> None:
    """Check that ids have the same order, except for near ties of the expected scores."""
    expected = dict(zip(case.slate_ids, case.slate_scores, strict=True))
    for place, item_id in enumerate(ids):
        score = expected.get(item_id, case.slate_scores[-1])
        if abs(score - case.slate_scores[place]) > tolerance:
            raise SelfTestFailedError(f"{where}: place {place + 1} holds {item_id!r}")
