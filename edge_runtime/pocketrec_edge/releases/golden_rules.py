"""Run the golden slates and titles of `golden_rules.json`, which do not depend on a release."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.golden.rules import COLUMNS, Draws, GoldenItem, GoldenRules, RuledSlate
from pocketrec_edge.recommend.policy_rerank import rerank
from pocketrec_edge.recommend.rules import RequestContext, RerankResult, RuleCandidates, apply
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign
from pocketrec_edge.recommend.rules.thompson import Feedback
from pocketrec_edge.recommend.rules.titles import same_words
from pocketrec_edge.releases.golden_edges import Comparison, compare


class FixedDraws:
    """A random generator that returns a case's fixed draws in order."""

    def __init__(self, draws: Draws) -> None:
        self._numbers, self._order = list(draws.numbers), draws.order

    def random(self, size: int, /) -> NDArray[np.float64]:
        """Return the next numbers; 0 after the last one."""
        found = (self._numbers + [0.0] * size)[:size]
        self._numbers = self._numbers[size:]
        return np.array(found)

    def permutation(self, n: int, /) -> NDArray[np.int64]:
        """Return the case's order of 0..n - 1."""
        return np.array([at for at in (*self._order, *range(n)) if at < n][:n], np.int64)


class Table:
    """The file's items as arrays."""

    def __init__(self, items: tuple[GoldenItem, ...]) -> None:
        self.titles = [item.title for item in items]
        self.vectors = np.array([item.vector for item in items], np.float32)
        self.categories = np.array([item.categories for item in items], np.int64)
        self.numeric = np.array([item.numeric for item in items], np.float32)


def slate_of(table: Table, case: RuledSlate) -> tuple[NDArray[np.int32], RerankResult]:
    """Return the candidates' rows and this device's slate."""
    rows = np.array(case.rows, np.int32)
    scores = np.array(case.scores, np.float32)
    if case.rules is None:
        assert case.policy is not None
        first = table.categories[rows][:, 0].astype(np.int32)
        return rows, RerankResult.untouched(
            rerank(case.policy, scores, table.vectors[rows], first, case.k)
        )
    candidates = RuleCandidates(
        rows=rows,
        scores=scores,
        vectors=table.vectors[rows],
        categories=table.categories[rows],
        numeric=table.numeric[rows],
        columns=COLUMNS,
        titles=lambda asked: [table.titles[row] for row in asked.tolist()],
    )
    return rows, apply(case.rules, candidates, _context(table, case), case.k)


def answered_slate(table: Table, case: RuledSlate) -> RuledSlate:
    """Return the case with this device's slate."""
    rows, ruled = slate_of(table, case)
    return replace(
        case,
        slate=tuple(rows[ruled.positions].tolist()),
        propensities=tuple(map(float, ruled.propensities)),
        sponsored=_campaigns(ruled),
    )


def _campaigns(ruled: RerankResult) -> tuple[str, ...]:
    return tuple("" if each is None else each.campaign_id for each in ruled.campaigns)


def _context(table: Table, case: RuledSlate) -> RequestContext:
    past = np.array(case.past, np.int64)
    earlier = np.array(case.earlier, np.int32)
    shown = np.array([row for row, _ in case.impressions], np.int64)
    return RequestContext(
        now_utc=case.now_utc,
        past_categories=table.categories[past],
        past_numeric=table.numeric[past],
        shown=earlier,
        shown_vectors=table.vectors[earlier],
        rng=None if case.draws is None else FixedDraws(case.draws),
        feedback=Feedback(
            categories=table.categories[shown],
            numeric=table.numeric[shown],
            followed=np.array([followed for _, followed in case.impressions], np.bool_),
        ),
        campaigns=tuple(
            EligibleCampaign(
                campaign_id=each.id,
                label="Sponsored",
                row=each.row,
                priority=each.priority,
                shown_today=each.shown_today,
            )
            for each in case.offers
        ),
    )


def check_rules(golden: GoldenRules) -> Iterator[Comparison]:
    """Run every slate and title."""
    table = Table(golden.items)
    for case in golden.slates:
        rows, ruled = slate_of(table, case)
        yield compare("rules/slate", case.name, rows[ruled.positions], case.slate)
        if case.draws is not None:
            found, expected = ruled.propensities, case.propensities
            yield compare("rules/propensities", case.name, found, expected)
        if case.offers:
            yield compare("rules/sponsored", case.name, _campaigns(ruled), case.sponsored)
    for at, each in enumerate(golden.titles, 1):
        yield compare("rules/titles", f"title {at}", same_words(each.title), each.words)
