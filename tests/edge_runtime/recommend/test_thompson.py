"""Thompson sampling: the posteriors' chances, and that logged propensities are the real shares."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.settings.rules import BandThompson, CategoryThompson, Rules
from pocketrec_edge.device import Device
from pocketrec_edge.events.event import IMPRESSION, INTERACTION
from pocketrec_edge.events.feedback import MOST_EVENTS, outcomes
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.recommend.rules import RequestContext, RuleCandidates, apply, reference
from pocketrec_edge.recommend.rules.thompson import Feedback, chances, explore_arms, posteriors

MANY = settings(deadline=None, max_examples=60)
SEED = st.integers(0, 2**32 - 1)
COLUMNS = ("popularity", "year", "price")


class Given:
    """Randomness that is known beforehand: what is asked first, what second."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self, size):
        found = self.numbers.pop(0)
        assert len(found) == size
        return np.array(found)

    def permutation(self, n):
        raise AssertionError("no order is drawn")


@pytest.mark.parametrize("rates", [(0.5, 0.3), (0.02, 0.01, 0.0), (0.9, 0.95, 0.2, 0.9)])
@pytest.mark.parametrize("shown", [0, 3, 40, MOST_EVENTS])
@pytest.mark.parametrize("prior", [(1, 1), (0.5, 0.5), (2, 60)])
def test_chances_are_those_of_the_beta_distributions(rates, shown, prior):
    """Within .001 of the integral of pdf_i times the others' cdf, by scipy."""
    integrate, stats = pytest.importorskip("scipy.integrate"), pytest.importorskip("scipy.stats")
    wins = [round(rate * shown) for rate in rates]
    arms = [stats.beta(prior[0] + won, prior[1] + shown - won) for won in wins]

    def best(one, angle):  # by the angle, where a density near 0 or 1 is wide
        x = math.sin(angle) ** 2
        others = math.prod(arm.cdf(x) for two, arm in enumerate(arms) if two != one)
        return arms[one].pdf(x) * others * 2 * math.sin(angle) * math.cos(angle)

    middles = sorted(math.asin(math.sqrt(arm.mean())) for arm in arms)
    exact = [
        integrate.quad(lambda x, i=i: best(i, x), 1e-9, math.pi / 2 - 1e-9, points=middles)[0]
        for i in range(len(arms))
    ]
    alphas = np.array([prior[0] + won for won in wins], np.float64)
    betas = np.array([prior[1] + shown - won for won in wins], np.float64)
    assert chances(alphas, betas) == pytest.approx(exact, abs=1e-3)


@given(SEED, st.integers(1, 5))
@settings(deadline=None, max_examples=10)
def test_chances_are_those_of_plain_loops(seed, n):
    rng = np.random.default_rng(seed)
    alphas, betas = rng.uniform(0.5, 30, n), rng.uniform(0.5, 300, n)
    found = chances(alphas, betas)
    assert found == pytest.approx(reference.chances(alphas.tolist(), betas.tolist()), abs=1e-9)
    assert found.sum() == pytest.approx(1) and (found >= 0).all()


def test_arms_with_the_same_feedback_are_as_likely_and_more_of_it_tells_more():
    assert chances(np.full(7, 3.0), np.full(7, 50.0)) == pytest.approx([1 / 7] * 7)
    few, many = (chances(np.array([1.0 + 3 * n, 1.0 + n]), np.full(2, 1.0 + 9 * n)) for n in (1, 9))
    assert 0.5 < few[0] < many[0] < 1
    most = chances(np.array([1000.0, 0.5]), np.array([0.5, 2000.0]))
    assert np.isfinite(most).all() and most[0] == pytest.approx(1)


def test_posteriors_count_each_arm_s_impressions():
    shown = np.array([2, 5, 2, 9, 0, 5, 2])
    followed = np.array([True, False, False, True, True, False, True])
    alphas, betas = posteriors(shown, followed, np.array([2, 5, 7]), 0.5, 3.0)
    assert (alphas.tolist(), betas.tolist()) == ([2.5, 0.5, 0.5], [4.0, 5.0, 3.0])


@pytest.mark.parametrize(
    ("k", "first", "arms"), [(3, 1, [0, 1, 0, 0]), (2, 2, [1, 1]), (4, 2, [0])]
)
def test_propensities_are_the_shares_of_all_that_can_happen(k, first, arms):
    """Every outcome of the coins and arms, weighed; the chances are worked out here."""
    epsilon, alphas, betas = 0.25, np.array([3.0, 2.0]), np.array([5.0, 9.0])
    arms = np.array(arms)
    n_open = min(k - first + 1, max(np.bincount(arms)))
    odds: dict[tuple[int, int], float] = {}
    said: dict[tuple[int, int], float] = {}
    for flips in itertools.product((0.0, 0.9), repeat=n_open):
        choices = []
        for rank in range(1, 1 + sum(flip < epsilon for flip in flips)):
            able = [arm for arm in (0, 1) if (arms == arm).sum() >= rank]
            share = chances(alphas[able], betas[able])
            ends = np.cumsum(share)  # a number in the middle of each arm's stretch
            choices.append([(end - one / 2, one) for end, one in zip(ends, share, strict=True)])
        for draws in itertools.product(*choices):
            chance = math.prod(epsilon if flip < epsilon else 1 - epsilon for flip in flips)
            chance *= math.prod(one for _, one in draws)
            left = iter(draws)
            numbers = [next(left)[0] if flip < epsilon else 0.5 for flip in flips]
            drawn = explore_arms(k, arms, alphas, betas, epsilon, first, Given(flips, numbers))
            inserted = [other for other in drawn.other.tolist() if other >= 0]
            assert len(set(inserted)) == len(inserted) == len(draws)
            for place, other in enumerate(drawn.other.tolist()):
                key = place, other
                odds[key] = odds.get(key, 0.0) + chance
                assert said.setdefault(key, drawn.propensity[place]) == drawn.propensity[place]
    assert odds == pytest.approx(said)


def test_20000_draws_come_as_often_as_their_propensities_say():
    """Chi-square of what stands at the last place, at a level of .001; the seed is fixed."""
    stats = pytest.importorskip("scipy.stats")
    arms = np.array([0, 1, 1, 2, 0, 2, 0])
    alphas, betas = np.array([2.0, 4.0, 1.0]), np.array([9.0, 9.0, 4.0])
    rng = np.random.default_rng(17)
    counts: dict[int, int] = {}
    odds: dict[int, float] = {}
    for _ in range(20_000):
        drawn = explore_arms(3, arms, alphas, betas, 0.6, 1, rng)
        other = int(drawn.other[2])
        counts[other] = counts.get(other, 0) + 1
        odds[other] = float(drawn.propensity[2])
    assert sum(odds.values()) == pytest.approx(1)  # all that can come came
    found = stats.chisquare([*counts.values()], [20_000 * odds[other] for other in counts])
    assert found.pvalue > 0.001


@given(SEED, st.integers(0, 12), st.integers(0, 20), st.floats(0, 1), st.integers(1, 14))
@MANY
def test_a_draw_is_distinct_and_takes_the_best_of_each_arm(seed, k, n, epsilon, first):
    rng = np.random.default_rng(seed)
    arms = rng.integers(0, 4, n)
    drawn = explore_arms(k, arms, np.full(4, 2.0), np.full(4, 3.0), epsilon, first, rng)
    assert len(drawn.other) == len(drawn.propensity) == k
    assert (drawn.propensity > 0).all() and (drawn.propensity <= 1).all()
    assert (drawn.other[: first - 1] == -1).all()
    inserted = drawn.other[drawn.other >= 0]
    assert len(set(inserted.tolist())) == len(inserted)
    for rank, other in enumerate(inserted.tolist()):
        assert (arms[:other] == arms[other]).sum() == rank


def candidates_of(n: int) -> RuleCandidates:
    """n items of falling scores; first categories 1, 2, 3, 0, 1, ..., prices 0, 1, 2, ..."""
    numeric = np.full((n, 3), -1, np.float32)
    numeric[:, 2] = np.arange(n)
    return RuleCandidates(
        rows=np.arange(n, dtype=np.int32),
        scores=np.arange(n, 0, -1).astype(np.float32),
        vectors=np.eye(n, dtype=np.float32),
        categories=((np.arange(n) + 1) % 4)[:, None],
        numeric=numeric,
        columns=COLUMNS,
        titles=lambda asked: [f"t{row}" for row in asked.tolist()],
    )


def moment_of(seed: int, categories, prices, followed) -> RequestContext:
    numeric = np.full((len(followed), 3), -1, np.float32)
    numeric[:, 2] = prices
    return RequestContext(
        now_utc=0,
        past_categories=np.zeros((0, 1), np.int64),
        past_numeric=np.zeros((0, 3), np.float32),
        shown=np.zeros(0, np.int32),
        shown_vectors=np.zeros((0, 12), np.float32),
        rng=np.random.default_rng(seed),
        feedback=Feedback(
            categories=np.array(categories)[:, None], numeric=numeric, followed=np.array(followed)
        ),
    )


def test_the_kind_that_this_user_follows_is_shown():
    prior = {"alpha": 1.0, "beta": 1.0}
    moment = moment_of(
        0, [2] * 300 + [1, 3] * 300, [9] * 300 + [2, 30] * 300, [True] * 300 + [False] * 600
    )
    by_category = CategoryThompson(epsilon=1.0, pool=9, first=2, **prior)
    slate = apply(Rules(rules=(by_category,), depth=12), candidates_of(12), moment, 3)
    assert slate.positions == [0, 5, 9]  # the two best of category 2 behind the slate
    assert slate.propensities == pytest.approx([1, 1, 1])
    assert [each.rule for each in slate.touched[2]] == ["category_thompson"]
    by_price = BandThompson(
        column="price", bounds=(8.0, 10.0), epsilon=1.0, pool=9, first=3, **prior
    )
    moment = moment_of(0, [2] * 900, [9] * 300 + [2, 30] * 300, [True] * 300 + [False] * 600)
    slate = apply(Rules(rules=(by_price,), depth=12), candidates_of(12), moment, 3)
    assert slate.positions == [0, 1, 8]


def test_items_without_a_category_are_never_tried_and_without_randomness_none():
    rule = CategoryThompson(epsilon=1.0, pool=9, first=1, alpha=1.0, beta=1.0)
    found, rules = candidates_of(12), Rules(rules=(rule,), depth=12)
    for seed in range(30):
        slate = apply(rules, found, moment_of(seed, [], [], np.zeros(0, np.bool_)), 2)
        assert len(set(slate.positions)) == 2 and not {3, 7, 11} & {*slate.positions}
    bare = RuleCandidates(
        **{name: getattr(found, name) for name in RuleCandidates.__dataclass_fields__}
        | {"categories": np.zeros((12, 1), np.int64)}
    )
    slate = apply(rules, bare, moment_of(0, [], [], np.zeros(0, np.bool_)), 2)
    assert (slate.positions, slate.propensities) == ([0, 1], [1.0, 1.0])


def test_an_impression_is_followed_until_its_item_is_shown_again():
    events = [
        *((INTERACTION, "a"), (IMPRESSION, "a"), (IMPRESSION, "b"), (INTERACTION, "a")),
        *((INTERACTION, "a"), (IMPRESSION, "a"), (IMPRESSION, "b"), (INTERACTION, "b")),
        *((INTERACTION, "c"), (IMPRESSION, "c")),
    ]
    assert outcomes(events) == [
        *(("a", True), ("b", False), ("a", False), ("b", True), ("c", False)),
    ]


def test_a_log_hands_out_the_latest_impressions_only(tmp_path, release):
    log = EventLog(tmp_path / "e.sqlite")
    log.append("item-1", "shown", ts=9, kind=IMPRESSION)  # falls out, and its click tells nothing
    log.append("item-1", "like", ts=9)
    log.append("no such item", "shown", ts=9, kind=IMPRESSION)
    for at in range(MOST_EVENTS - 2):
        log.append("item-3" if at else "item-2", "shown", ts=9 - at, kind=IMPRESSION)
    log.append("item-3", "like", ts=0)  # an unsteady clock: the order of logging counts
    found = log.impressions(release)
    assert len(found.rows) == MOST_EVENTS - 2
    assert release.item_id(int(found.rows[0])) == "item-2"
    assert np.flatnonzero(found.followed).tolist() == [MOST_EVENTS - 3]
    assert EventLog(tmp_path / "none.sqlite").impressions(release).rows.tolist() == []


def test_a_device_learns_from_its_own_log(small_release, tmp_path):
    phone = Device(tmp_path, bundle=small_release, rng=np.random.default_rng(2))
    bundle, log = phone.bundle, phone._log
    assert bundle is not None and log is not None
    group = {f"item-{i}": int(bundle.categories[bundle.row_of(f"item-{i}")][0]) for i in range(300)}
    for item_id, code in group.items():
        log.append(item_id, "shown", ts=1, kind=IMPRESSION)
        if code == 2:
            log.append(item_id, "like", ts=1)
    rule = CategoryThompson(epsilon=1.0, pool=30, first=10, alpha=1.0, beta=1.0)
    bundle.rules = Rules(rules=(rule,), depth=50)
    answer = phone.recommend(exclude_seen=False)
    last = answer.items[-1]
    assert group[last.item_id] == 2 and last.propensity > 0.99
    assert log.impressions(bundle).rows.size == 300 + len(answer.items)
