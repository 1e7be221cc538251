"""Effects from sums are those of tea-tasting and of textbooks."""

import json
import math

import ibis
import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.statistics import Ratio, Sums, effect, margin, sample_ratio
from pocketrec_experiments.statistics.multiplicity import benjamini_hochberg, holm
from pocketrec_experiments.statistics.power import plan
from pocketrec_experiments.statistics.ratio_mismatch import chi_square_tail

NAMES = ("clicks", "views", "clicks_past", "views_past")
METRICS = {
    "mean": Ratio(numerator="clicks"),
    "cuped": Ratio(numerator="clicks", past="clicks_past"),
    "ratio": Ratio(numerator="clicks", denominator="views"),
    "ratio_cuped": Ratio(
        numerator="clicks",
        denominator="views",
        past="clicks_past",
        past_denominator="views_past",
    ),
}


@pytest.fixture(scope="module")
def users() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 4000
    past_views = rng.poisson(20, n) + 1
    past = rng.binomial(past_views, 0.1)
    views = rng.poisson(past_views) + 1
    arm = rng.integers(0, 2, n)
    clicks = rng.binomial(views, np.minimum(0.05 + 0.5 * past / past_views + 0.01 * arm, 1))
    columns = dict(zip(NAMES, (clicks, views, past, past_views), strict=True))
    return pd.DataFrame({"variant": arm, **columns})


def sums(users: pd.DataFrame, arm: int) -> Sums:
    return Sums.of_rows(NAMES, users.loc[users["variant"] == arm, list(NAMES)].to_numpy())


@pytest.mark.parametrize("name", METRICS)
def test_effects_are_those_of_tea_tasting(users, name):
    metric = METRICS[name]
    theirs = tt.Experiment(
        it=tt.RatioOfMeans(
            metric.numerator,
            metric.denominator,
            metric.past,
            metric.past_denominator,
            use_t=False,
            equal_var=False,
        )
    ).analyze(ibis.memtable(users))["it"]
    ours = effect(sums(users, 0), sums(users, 1), metric)
    pairs = {
        "control": ours.control,
        "treatment": ours.treatment,
        "effect_size": ours.difference,
        "effect_size_ci_lower": ours.low,
        "effect_size_ci_upper": ours.high,
        "rel_effect_size": ours.relative,
        "rel_effect_size_ci_lower": ours.relative_low,
        "rel_effect_size_ci_upper": ours.relative_high,
        "pvalue": ours.p,
        "statistic": ours.z,
    }
    for key, value in pairs.items():
        assert value == pytest.approx(getattr(theirs, key), rel=1e-7), key


def test_users_needed_are_those_of_tea_tasting(users):
    metric = tt.Mean("clicks", rel_effect_size=0.05, use_t=False, alpha=0.05, power=0.8)
    theirs = metric.solve_power(ibis.memtable(users), "n_obs")[0].n_obs
    ours = plan(mean=users["clicks"].mean(), variance=users["clicks"].var(), relative=0.05, looks=1)
    assert ours.users == pytest.approx(theirs, rel=1e-3)


def test_a_covariate_narrows_the_interval_by_its_correlation(users):
    plain = effect(sums(users, 0), sums(users, 1), METRICS["mean"])
    cuped = effect(sums(users, 0), sums(users, 1), METRICS["cuped"])
    rho = np.corrcoef(users["clicks"], users["clicks_past"])[0, 1]
    assert cuped.se / plain.se == pytest.approx(math.sqrt(1 - rho**2), rel=0.01)


def test_a_covariate_that_never_varies_changes_nothing(users):
    same = users.assign(clicks_past=0)
    plain = effect(sums(same, 0), sums(same, 1), METRICS["mean"])
    assert effect(sums(same, 0), sums(same, 1), METRICS["cuped"]) == plain


@pytest.mark.parametrize("rows", [0, 1])
def test_an_arm_without_users_has_no_interval(users, rows):
    few = Sums.of_rows(NAMES, users[list(NAMES)].to_numpy()[:rows])
    found = effect(sums(users, 0), few, METRICS["ratio_cuped"])
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_arms_without_any_event_have_no_difference():
    nothing = Sums.of_rows(NAMES, np.zeros((9, 4)))
    found = effect(nothing, nothing, METRICS["mean"])
    assert (found.difference, found.p, found.z) == (0.0, 1.0, 0.0)
    assert math.isnan(effect(nothing, nothing, METRICS["ratio"]).p)


@given(st.integers(0, 30), st.integers(0, 2**31))
def test_sums_of_parts_are_the_sums_of_the_whole(cut, seed):
    rows = np.random.default_rng(seed).integers(0, 100, (30, 4))
    whole = Sums.of_rows(NAMES, rows)
    parts = Sums.of_rows(NAMES, rows[:cut]) + Sums.of_rows(NAMES, rows[cut:])
    assert parts.n == whole.n
    assert np.array_equal(parts.totals, whole.totals)
    assert np.array_equal(parts.products, whole.products)


def test_sums_survive_json(users):
    ours = sums(users, 0)
    read = Sums.from_plain(json.loads(json.dumps(ours.plain())))
    assert read.plain() == ours.plain()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"names": ["a"], "n": -1, "totals": [1], "products": [[1]]},
        {"names": ["a"], "n": 1, "totals": [1, 2], "products": [[1]]},
        {"names": ["a"], "n": 1, "totals": [math.nan], "products": [[1]]},
        {"names": ["a"], "n": 1, "totals": ["x"], "products": [[1]]},
    ],
)
def test_sums_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match="sums"):
        Sums.from_plain(wrong)


@pytest.mark.parametrize("freedom", range(1, 9))
def test_the_chi_square_tail_is_scipys(freedom):
    for x in (0.0, 0.3, 1.0, 5.0, 40.0, 300.0):
        assert chi_square_tail(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-10)


def test_the_sample_ratio_of_the_literature():
    # Kohavi, Tang, Xu 2020, "Trustworthy Online Controlled Experiments", ch. 3: 1.8E-6.
    found = sample_ratio([821_588, 815_482], [1, 1])
    assert found.p == pytest.approx(1.8e-6, rel=0.02)
    assert found.is_off
    assert found.expected == (818_535.0, 818_535.0)
    assert not sample_ratio([0, 0], [1, 1]).is_off
    assert sample_ratio([0, 100], [1, 1]).is_off


def test_a_sample_ratio_of_one_arm_is_refused():
    with pytest.raises(InputError, match="two or more arms"):
        sample_ratio([5], [1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_are_those_of_scipy_and_never_smaller(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(
        stats.false_discovery_control(p_values).tolist(), abs=1e-12
    )
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, len(p_values) * max(p_values))


def test_the_margin_of_a_guardrail_by_hand():
    # control: mean 10, var 4, n 100; treatment: mean 11, var 9, n 50. Tolerated: 5% more.
    rng = np.random.default_rng(0)

    def arm(mean: float, variance: float, n: int) -> Sums:
        values = rng.normal(size=n)
        values = (values - values.mean()) / values.std(ddof=1) * variance**0.5 + mean
        return Sums.of_rows(("ms",), values)

    control, treatment = arm(10, 4, 100), arm(11, 9, 50)
    metric = Ratio(numerator="ms")
    found = margin(control, treatment, metric, worse_by=0.05, is_higher_better=False)
    assert found.limit == pytest.approx(10.5)
    assert found.se == pytest.approx(math.sqrt(9 / 50 + 1.05**2 * 4 / 100))
    assert found.z == pytest.approx((11 - 10.5) / found.se)
    other = margin(control, treatment, metric, worse_by=0.05, is_higher_better=True)
    assert other.limit == pytest.approx(9.5)
    assert other.z == pytest.approx((9.5 - 11) / math.sqrt(9 / 50 + 0.95**2 * 4 / 100))


def test_a_margin_without_users_has_no_z():
    nothing = Sums.of_rows(("ms",), [])
    found = margin(nothing, nothing, Ratio(numerator="ms"), worse_by=0, is_higher_better=False)
    assert math.isnan(found.z)
