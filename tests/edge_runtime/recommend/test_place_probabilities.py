"""The probability of each item at each place is the one that draws have and that is logged."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.settings.rules import (
    BandThompson,
    CategoryCap,
    CategoryThompson,
    Exploration,
    Mmr,
    Rule,
    Rules,
    Sponsored,
)
from pocketrec_edge.recommend.rules import (
    RequestContext,
    RuleCandidates,
    apply,
    place_probabilities,
)
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign
from pocketrec_edge.recommend.rules.thompson import Feedback

SEED = st.integers(0, 2**32 - 1)
DRAWS: dict[str, Rule | None] = {
    "uniform": Exploration(epsilon=0.3, pool=5, first=2),
    "categories": CategoryThompson(epsilon=0.4, pool=9, first=1, alpha=1.0, beta=9.0),
    "bands": BandThompson(
        column="price", bounds=(1.0, 2.0), epsilon=0.4, pool=9, first=2, alpha=1.0, beta=9.0
    ),
    "nothing": None,
}


def request_of(seed, n):
    rng = np.random.default_rng(seed)
    candidates = RuleCandidates(
        rows=rng.permutation(3 * n)[:n].astype(np.int32),
        scores=rng.integers(0, 12, n).astype(np.float32),  # many ties
        vectors=rng.normal(size=(n, 4)).astype(np.float32),
        categories=rng.integers(0, 4, (n, 2)),
        numeric=rng.uniform(0, 3, (n, 3)).astype(np.float32),
        columns=("popularity", "year", "price"),
        titles=lambda asked: [f"title {row}" for row in asked.tolist()],
    )
    campaigns = tuple(
        EligibleCampaign(campaign_id=f"c{row}", label="ad", row=row, priority=1, shown_today=0)
        for row in candidates.rows[:2].tolist()
    )
    past = 6
    context = RequestContext(
        now_utc=1_700_000_000,
        past_categories=np.zeros((0, 2), np.int64),
        past_numeric=np.zeros((0, 3), np.float32),
        shown=np.zeros(0, np.int32),
        shown_vectors=np.zeros((0, 4), np.float32),
        feedback=Feedback(
            categories=rng.integers(0, 4, (past, 2)),
            numeric=rng.uniform(0, 3, (past, 3)).astype(np.float32),
            followed=rng.random(past) < 0.5,
        ),
        campaigns=campaigns,
    )
    return candidates, context


def rules_of(drawing, sponsored):
    listed: list[Rule] = [Mmr(relevance=0.8), CategoryCap(place=0, limit=2)]
    if sponsored:
        listed.append(Sponsored(places=(2, 5), relevance=0.0, per_day=3))
    if (draws := DRAWS[drawing]) is not None:
        listed.append(draws)
    return Rules(rules=tuple(listed), depth=50)


@given(SEED, st.integers(0, 25), st.integers(1, 8), st.sampled_from(list(DRAWS)), st.booleans())
@settings(deadline=None, max_examples=120)
def test_places_sum_to_one_and_hold_what_is_logged(seed, n, k, drawing, sponsored):
    candidates, context = request_of(seed, n)
    rules = rules_of(drawing, sponsored)
    found = place_probabilities(rules, candidates, context, k)
    assert (found.probabilities > 0).all()
    drawn = dataclasses.replace(context, rng=np.random.default_rng(seed))
    slate = apply(rules, candidates, drawn, k)
    sums = np.bincount(found.places, weights=found.probabilities, minlength=len(slate.positions))
    assert sums[1:] == pytest.approx(np.ones(len(slate.positions)))
    odds = dict(
        zip(
            zip(found.positions.tolist(), found.places.tolist(), strict=True),
            found.probabilities.tolist(),
            strict=True,
        )
    )
    assert len(odds) == len(found.positions)
    for place, (position, logged) in enumerate(
        zip(slate.positions, slate.propensities, strict=True), 1
    ):
        assert odds[position, place] == pytest.approx(logged)


@pytest.mark.parametrize("drawing", ["uniform", "categories", "bands"])
@pytest.mark.parametrize("sponsored", [False, True])
def test_draws_have_these_probabilities(drawing, sponsored):
    candidates, context = request_of(4, 24)
    rules, k, n = rules_of(drawing, sponsored), 5, 4000
    found = place_probabilities(rules, candidates, context, k)
    context = dataclasses.replace(context, rng=np.random.default_rng(9))
    seen: Counter[tuple[int, int]] = Counter()
    for _ in range(n):
        slate = apply(rules, candidates, context, k)
        seen.update((position, place) for place, position in enumerate(slate.positions, 1))
    odds = zip(found.positions.tolist(), found.places.tolist(), found.probabilities, strict=True)
    left = dict(seen)
    for position, place, probability in odds:
        share = left.pop((position, place), 0) / n
        noise = np.sqrt(probability * (1 - probability) / n)
        assert share == pytest.approx(probability, abs=4.5 * noise + 1e-12)
    assert not left  # nothing is drawn that has no probability
