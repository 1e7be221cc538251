"""Sponsored places: who takes them, what they never do to the others, and how they are counted."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.features import History
from pocketrec_bundle.settings.campaigns import Campaign, Campaigns
from pocketrec_bundle.settings.rules import (
    CategoryCap,
    Exploration,
    Mmr,
    NearDuplicates,
    QualityFloor,
    Rules,
    Sponsored,
)
from pocketrec_edge.answers import RuleEffect, Sponsorship
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError, EventLogError
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.rules import RequestContext, RuleCandidates, apply, reference
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign
from pocketrec_edge.recommend.sponsored_placements import SponsoredPlacements

NOW = 1_700_000_000
DAY_S = 24 * 3600
SEED = st.integers(0, 2**32 - 1)
PLACES = st.sets(st.integers(1, 14), min_size=1, max_size=5).map(sorted)
TWINS = NearDuplicates(cosine=0.9, titles=True)


def candidates_of(seed: int, n: int) -> RuleCandidates:
    rng = np.random.default_rng(seed)
    return RuleCandidates(
        rows=rng.permutation(3 * n)[:n].astype(np.int32),
        scores=rng.integers(0, 12, n).astype(np.float32),  # many ties
        vectors=rng.normal(size=(n, 4)).astype(np.float32),
        categories=rng.integers(0, 4, (n, 2)),
        numeric=np.zeros((n, 3), np.float32),
        columns=("popularity", "year", "price"),
        titles=lambda asked: [f"title {row // 2}" for row in asked.tolist()],
    )


def offers_of(seed: int, n: int) -> tuple[EligibleCampaign, ...]:
    """SponsoredPlacements of any rows, some twice, some of no candidate."""
    rng = np.random.default_rng(seed + 1)
    return tuple(
        EligibleCampaign(
            campaign_id=f"c{at}",
            label="Sponsored",
            row=int(rng.integers(0, max(3 * n, 1))),
            priority=int(rng.integers(0, 3)),
            shown_today=int(rng.integers(0, 4)),
        )
        for at in range(int(rng.integers(0, 12)))
    )


def moment_of(**changes) -> RequestContext:
    sound = RequestContext(
        now_utc=NOW,
        past_categories=np.zeros((0, 2), np.int64),
        past_numeric=np.zeros((0, 3), np.float32),
        shown=np.zeros(0, np.int32),
        shown_vectors=np.zeros((0, 4), np.float32),
    )
    return dataclasses.replace(sound, **changes)


@given(SEED, st.integers(0, 20), st.integers(1, 14), PLACES, st.floats(0, 1), st.integers(1, 4))
@settings(deadline=None, max_examples=150)
def test_sponsored_places_are_those_of_plain_loops(seed, n, k, places, floor, per_day):
    found, offers = candidates_of(seed, n), offers_of(seed, n)
    rule = Sponsored(places=tuple(places), relevance=floor, per_day=per_day)
    slate = apply(Rules(rules=(rule,), depth=30), found, moment_of(campaigns=offers), k)
    order = np.lexsort((found.rows, -found.scores))
    scores = found.scores[order].astype(float)
    spread = (scores.max() - scores.min()) if n else 0
    values = ((scores - scores.min()) / spread).tolist() if spread else [1.0] * n
    rows = found.rows[order].tolist()
    expected = reference.sponsored(offers, rows, values, places, floor, per_day, k)
    assert [int(found.rows[at]) for at in slate.positions] == [rows[at] for at in expected]


@pytest.mark.parametrize("explores", [False, True])
@given(SEED, st.integers(0, 30), st.integers(1, 12), PLACES, st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_whatever_is_sponsored_the_others_keep_their_order(explores, seed, n, k, places, floor):
    last = (Exploration(epsilon=0.5, pool=5, first=1),) if explores else ()
    rule = Sponsored(places=tuple(places), relevance=floor, per_day=3)
    before = (QualityFloor(relevance=0.1), TWINS, Mmr(relevance=0.5), CategoryCap(place=0, limit=3))
    found, offers = candidates_of(seed, n), offers_of(seed, n)
    rng = np.random.default_rng(seed)
    rules = Rules(rules=(*before, rule, *last), depth=30)
    slate = apply(rules, found, moment_of(campaigns=offers, rng=rng), k)
    assert len(set(slate.positions)) == len(slate.positions) <= k
    paid = [at for at, offer in zip(slate.positions, slate.campaigns, strict=True) if offer]
    others = [at for at in slate.positions if at not in paid]
    still = apply(Rules(rules=before, depth=30), found, moment_of(), k)
    if not explores:
        organic = [at for at in still.positions if at not in paid]
        assert others == organic[: len(others)]
        assert len(slate.positions) == len(still.positions)
    for place, (at, offer) in enumerate(zip(slate.positions, slate.campaigns, strict=True), 1):
        if offer is None:
            continue
        assert place in places and offer.row == found.rows[at] and offer in offers
        assert offer.shown_today < 3
        assert slate.propensities[place - 1] == 1.0
        assert slate.touched[place - 1][-1].rule == "sponsored"
        assert slate.touched[place - 1][-1].after == place
    units = found.vectors[slate.positions]
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    assert (units @ units.T - 2 * np.eye(len(units)) < 0.9).all()
    titles = [row // 2 for row in found.rows[slate.positions].tolist()]
    assert len(set(titles)) == len(titles)


def test_a_paid_item_goes_to_its_place_and_the_others_move_down():
    found = dataclasses.replace(
        candidates_of(0, 6),
        rows=np.arange(6, dtype=np.int32),
        scores=np.arange(6, 0, -1).astype(np.float32),
    )
    offers = tuple(
        EligibleCampaign(
            campaign_id=name, label="Ad", row=row, priority=priority, shown_today=shown
        )
        for name, row, priority, shown in [
            *(("low", 4, 1, 0), ("high", 3, 9, 0), ("twin", 3, 5, 0), ("poor", 5, 9, 0)),
            *(("often", 2, 9, 2), ("elsewhere", 77, 9, 0)),
        ]
    )
    rule = Sponsored(places=(2, 4), relevance=0.2, per_day=2)
    slate = apply(Rules(rules=(rule,), depth=6), found, moment_of(campaigns=offers), 4)
    assert slate.positions == [0, 3, 1, 4]
    assert [offer and offer.campaign_id for offer in slate.campaigns] == [None, "high", None, "low"]
    assert slate.touched[1] == (RuleEffect(rule="sponsored", how="inserted", before=4, after=2),)
    short = apply(Rules(rules=(rule,), depth=6), found, moment_of(campaigns=offers), 1)
    assert (short.positions, short.campaigns) == ([0], [None])


def test_an_item_that_an_earlier_page_showed_something_like_is_not_sponsored():
    found = dataclasses.replace(candidates_of(3, 5), vectors=np.eye(5, dtype=np.float32))
    offer = EligibleCampaign(
        campaign_id="c", label="Ad", row=int(found.rows[2]), priority=1, shown_today=0
    )
    rules = Rules(rules=(TWINS, Sponsored(places=(1,), relevance=0.0, per_day=1)), depth=5)
    like = np.eye(5, dtype=np.float32)[2:3]
    moment = moment_of(campaigns=(offer,), shown=np.array([99], np.int32), shown_vectors=like)
    assert apply(rules, found, moment, 3).campaigns == [None] * 3


# On a phone

RULES = Rules(
    rules=(
        NearDuplicates(cosine=0.99, titles=False),
        Sponsored(places=(1, 3), relevance=0.0, per_day=3),
        Exploration(epsilon=0.5, pool=10, first=1),
    ),
    depth=50,
)


def campaign(name: str, item_id: str, **changes) -> Campaign:
    sound = Campaign(
        id=name, item_id=item_id, label="Sponsored", from_utc=0, until_utc=2 * NOW, priority=1
    )
    return dataclasses.replace(sound, **changes)


@pytest.fixture
def candidate_ids(release):
    """Ids of what the small release would rank for somebody new, best first."""
    slate = Recommender(release).recommend(Query(History.empty(), NOW))
    order = np.lexsort((slate.candidates, -slate.scores))
    return [release.item_id(int(row)) for row in slate.candidates[order]]


@pytest.fixture
def phone(small_release, tmp_path, candidate_ids):
    """A phone whose release pays for two candidates far down the list."""
    made = Device(
        tmp_path / "phone",
        bundle=small_release,
        clock=lambda: NOW,
        rng=np.random.default_rng(1),
    )
    assert made.bundle is not None
    made.bundle.rules = RULES
    made.bundle.campaigns = Campaigns(
        campaigns=(
            campaign("zebra-1", candidate_ids[20], priority=2),
            campaign("zebra-2", candidate_ids[30], label="Ad"),
        )
    )
    yield made
    made.close()


def paid(answer):
    return [item.sponsored and item.sponsored.campaign for item in answer.items]


def test_a_slate_says_what_is_sponsored_and_how_to_label_it(phone, candidate_ids):
    answer = phone.recommend()
    assert paid(answer) == ["zebra-1", None, "zebra-2", *[None] * 7]
    first, _, third = answer.items[:3]
    assert (first.item_id, third.item_id) == (candidate_ids[20], candidate_ids[30])
    assert first.sponsored == Sponsorship(campaign="zebra-1", label="Sponsored")
    assert third.sponsored == Sponsorship(campaign="zebra-2", label="Ad")
    assert first.propensity == 1.0 and answer.faults == ()


def test_impressions_of_sponsored_items_say_so_and_showings_are_never_sent(phone):
    phone.set_consent(True, "terms")
    answer = phone.recommend()
    request, *shown_items = phone._log.pending(99)
    assert (request.kind, request.id) == ("request", answer.request)
    shown = {e.item_id: e.context for e in shown_items}
    told = [shown[item.item_id].get("sponsored") for item in answer.items]
    assert told == paid(answer)
    assert (
        len(shown) == 10 and phone.status().plain()["pending"] == 11
    )  # showings are not among them
    assert phone.status().plain()["showings"] == 2


def test_a_campaign_is_shown_so_often_a_day_and_again_on_the_next(small_release, phone):
    answers = [phone.recommend() for _ in range(4)]
    assert [sum(each is not None for each in paid(a)) for a in answers] == [2, 2, 2, 0]
    assert all(len(a.items) == 10 for a in answers)
    start = NOW - NOW % DAY_S
    for now, counts in ((start + DAY_S - 1, 3), (start + DAY_S, 0), (start - 1, 0)):
        assert phone._log.showings(now) == (
            {"zebra-1": counts, "zebra-2": counts} if counts else {}
        )
    phone._slates._clock = lambda: start + DAY_S
    assert paid(phone.recommend())[0] == "zebra-1"


def test_pages_count_together_and_never_repeat_a_sponsored_item(phone, candidate_ids):
    more = [campaign(f"c{at}", candidate_ids[at]) for at in range(36, 48)]
    phone.bundle.campaigns = Campaigns(campaigns=tuple(more))
    answer = phone.recommend(page=1)
    shown, campaigns = list(answer.items), paid(answer)
    for page in (2, 3):
        answer = phone.recommend(page=page, session=answer.session)
        shown += answer.items
        campaigns += paid(answer)
    ids = [item.item_id for item in shown]
    assert len(set(ids)) == len(ids)
    named = [each for each in campaigns if each]
    assert len(set(named)) == len(named) == 6
    again = phone.recommend(page=1, session=answer.session)
    assert paid(again) == campaigns[:10] and again.items[0].sponsored.label == "Sponsored"
    assert phone.status().plain()["showings"] == 6  # a page seen again is one showing


def test_page_2_keeps_to_the_number_a_day(phone):
    sponsored = RULES.rules[1]
    assert isinstance(sponsored, Sponsored)
    rule = dataclasses.replace(sponsored, per_day=1)
    phone.bundle.rules = Rules(rules=(RULES.rules[0], rule), depth=50)
    first = phone.recommend()
    assert [each for each in paid(first) if each] == ["zebra-1", "zebra-2"]
    one = phone.recommend(page=1)
    two = phone.recommend(page=2, session=one.session)
    assert {*paid(one), *paid(two)} == {None}


def test_campaigns_that_do_not_run_and_items_that_are_gone_are_passed_over(release):
    release.campaigns = Campaigns(
        campaigns=(
            campaign("over", "item-1", until_utc=NOW),
            campaign("to come", "item-1", from_utc=NOW + 1),
            campaign("unknown", "no such item"),
            campaign("withdrawn", "item-2"),
            campaign("runs", "item-1", from_utc=NOW, until_utc=NOW + 1),
        )
    )
    row = release.row_of("item-1")
    release.available[row], release.available[release.row_of("item-2")] = True, False
    offers = SponsoredPlacements(release, release.campaigns).at(NOW, {"runs": 2, "over": 1})
    assert [(each.campaign_id, each.row, each.shown_today) for each in offers] == [("runs", row, 2)]


@pytest.mark.parametrize("how", ["not looked at", "not counted", "not readable"])
def test_what_cannot_be_counted_is_not_sponsored(phone, monkeypatch, how):
    def refuse(*_args):
        raise EventLogError("the disk is full")

    if how == "not counted":
        monkeypatch.setattr(phone._log, "add_showings", refuse)
    if how == "not readable":
        monkeypatch.setattr(phone._log, "showings", refuse)
    answer = phone.recommend(log_impressions=how != "not looked at")
    assert {*paid(answer)} == {None}
    assert len(answer.items) == (8 if how == "not counted" else 10)
    assert [*map(str, answer.faults)] == ([] if how == "not looked at" else ["the disk is full"])


def test_the_list_of_popular_items_has_nothing_sponsored(phone, monkeypatch):
    def broken(*_args):
        raise EngineError("broken on purpose")

    monkeypatch.setattr(phone._recommender, "user_vector", broken)
    assert {*paid(phone.recommend())} == {None}


def test_an_item_that_is_no_candidate_is_not_shown(phone, release, candidate_ids):
    (other, *_) = (
        f"item-{i}"
        for i in range(300)
        if f"item-{i}" not in candidate_ids and release.available[release.row_of(f"item-{i}")]
    )
    phone.bundle.campaigns = Campaigns(campaigns=(campaign("c", other),))
    assert {*paid(phone.recommend())} == {None}
