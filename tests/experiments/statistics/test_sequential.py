"""Group-sequential bounds against published tables, and against simulated paths."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.statistics import sequential, sequential_bounds
from pocketrec_experiments.statistics.power import inflation, plan
from pocketrec_experiments.statistics.sequential import crossing_probability, spending

# R package gsDesign, gsDesign(k=4, test.type=1, alpha=0.025, sfu=sfLDOF)$upper$bound.
GS_DESIGN_FOUR = (4.332634, 2.963131, 2.359044, 2.014090)
# R package ldbounds (programs of Reboussin, DeMets, Kim, Lan 2000), two-sided alpha .05, 5 looks.
LD_BOUNDS_FIVE = (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)
# Julia package SeqBounds, README: one-sided alpha .05, 4 looks, on a coarse grid.
SEQ_BOUNDS_ONE_SIDED = (3.74955, 2.53993, 2.01604, 1.72014)


def equal(looks: int) -> list[float]:
    return [(k + 1) / looks for k in range(looks)]


def test_bounds_of_four_looks_are_those_of_gs_design():
    assert sequential_bounds(equal(4)).z == pytest.approx(GS_DESIGN_FOUR, abs=3e-6)


def test_bounds_of_five_looks_are_the_published_ones():
    assert sequential_bounds(equal(5)).z == pytest.approx(LD_BOUNDS_FIVE, abs=6e-5)


def test_one_sided_bounds_are_the_published_ones():
    bounds = sequential_bounds(equal(4), alpha=0.05, sides=1)
    assert bounds.z == pytest.approx(SEQ_BOUNDS_ONE_SIDED, abs=6e-5)
    assert bounds.spent == pytest.approx((8.85754e-5, 0.0055746, 0.0236251, 0.05), rel=1e-5)


def test_one_look_is_the_fixed_test():
    assert sequential_bounds([1.0]).z[0] == pytest.approx(1.959964, abs=1e-6)
    assert sequential_bounds([1.0], alpha=0.01, sides=1).z[0] == pytest.approx(2.326348, abs=1e-6)


@pytest.mark.parametrize("looks", [1, 3, 28, 90])
def test_all_of_alpha_is_spent_at_the_end_and_no_more(looks):
    bounds = sequential_bounds(equal(looks), alpha=0.05)
    assert bounds.spent[-1] == pytest.approx(0.05, abs=1e-9)
    assert list(bounds.spent) == sorted(bounds.spent)
    assert all(a >= b for a, b in zip(bounds.z, bounds.z[1:], strict=False))


def test_looks_beyond_the_plan_spend_nothing():
    bounds = sequential_bounds([0.5, 1.0, 1.2], alpha=0.05)
    assert bounds.spent[2] == pytest.approx(bounds.spent[1], abs=1e-14)
    assert bounds.z[2] == 8.0


def test_looks_without_new_information_are_one_test_at_a_time():
    # Equal information: Z is the same at each look, so P(Z > c_k) is what was spent up to then.
    bounds = sequential_bounds([0.3, 0.6, 1.0], alpha=0.05, information=[5.0, 5.0, 5.0])
    expected = [NormalDist().inv_cdf(1 - spending(t, 0.025)) for t in bounds.fractions]
    assert bounds.z == pytest.approx(expected, abs=0.01)


def test_bounds_do_not_depend_on_the_number_of_nodes(monkeypatch):
    fractions = [0.2, 0.202, 0.21, 0.5, 0.9, 1.0]
    for sides in (1, 2):
        few = sequential_bounds(fractions, sides=sides).z
        monkeypatch.setattr(sequential, "_RULES", (1536, 2048))
        assert sequential_bounds(fractions, sides=sides).z == pytest.approx(few, abs=1e-6)
        monkeypatch.undo()


def test_earlier_bounds_do_not_depend_on_later_looks():
    assert sequential_bounds([0.1, 0.35]).z == sequential_bounds([0.1, 0.35, 0.9]).z[:2]


def test_simulated_paths_cross_as_often_as_said():
    rng = np.random.default_rng(1)
    information = np.array([1.0, 2.0, 5.0, 9.0])
    fractions = [0.25, 0.5, 0.75, 1.0]
    bounds = sequential_bounds(fractions, alpha=0.2, information=information.tolist())
    steps = rng.normal(size=(200_000, 4)) * np.sqrt(np.diff(information, prepend=0.0))
    z = steps.cumsum(axis=1) / np.sqrt(information)
    share = (np.abs(z) > bounds.z).any(axis=1).mean()
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 200_000))


def test_power_is_that_of_simulated_paths():
    rng = np.random.default_rng(2)
    bounds = sequential_bounds(equal(5))
    steps = rng.normal(size=(200_000, 5)) / np.sqrt(5) + 3.0 / 5
    z = steps.cumsum(axis=1) / np.sqrt(np.array(equal(5)))
    share = (np.abs(z) > bounds.z).any(axis=1).mean()
    assert crossing_probability(bounds, 3.0) == pytest.approx(share, abs=0.004)


def test_without_a_difference_the_power_is_alpha():
    assert crossing_probability(sequential_bounds(equal(7)), 0.0) == pytest.approx(0.05, abs=1e-6)


def test_spending_begins_at_nothing():
    assert spending(0.0, 0.025) == 0.0
    assert spending(1.0, 0.025) == pytest.approx(0.025)
    assert spending(2.0, 0.025) == spending(1.0, 0.025)


@pytest.mark.parametrize(
    ("fractions", "more"),
    [
        ([], {}),
        ([0.5, 0.5], {}),
        ([0.0, 0.5], {}),
        ([0.5, math.nan], {}),
        ([0.5], {"alpha": 1.0}),
        ([0.5], {"sides": 3}),
        ([0.5], {"information": [1.0, 2.0]}),
        ([0.5, 0.6], {"information": [2.0, 1.0]}),
    ],
)
def test_looks_that_do_not_rise_are_refused(fractions, more):
    with pytest.raises(InputError, match="sequential bounds"):
        sequential_bounds(fractions, **more)


def test_daily_looks_cost_little_and_the_plan_adds_them():
    # Jennison and Turnbull 2000, table 2.4: O'Brien-Fleming, 5 looks, power .8: 1.028; the
    # spending function stops a little less early, so it costs no more.
    assert 1.0 < inflation(5, 0.05, 0.8) < 1.028
    once = plan(mean=2.0, variance=9.0, relative=0.05, looks=1)
    daily = plan(mean=2.0, variance=9.0, relative=0.05, looks=28, users_per_day=1000.0)
    assert (
        daily.users == math.ceil(once.users * daily.inflation)
        or abs(daily.users - once.users * daily.inflation) < 2
    )
    assert daily.days == math.ceil(daily.users / 1000)
    assert daily.weeks_days is not None
    assert daily.weeks_days % 7 == 0
    assert daily.weeks_days >= daily.days


@pytest.mark.parametrize("wrong", [{"relative": 0.0}, {"mean": 0.0}, {"share": 1.0}, {"looks": 0}])
def test_a_plan_out_of_range_names_the_number(wrong):
    settings = {"mean": 1.0, "variance": 1.0, "relative": 0.1} | wrong
    with pytest.raises(InputError, match=f"power: {next(iter(wrong))}"):
        plan(**settings)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"relative": 1e-200}, "more than 1e.12 users"),
        ({"variance": math.inf}, "more than 1e.12 users"),
        ({"users_per_day": 1e-300}, "more than 36,525 days"),
    ],
)
def test_a_plan_that_no_experiment_can_have_is_refused(wrong, match):
    settings = {"mean": 1.0, "variance": 1.0, "relative": 0.1, "looks": 1} | wrong
    with pytest.raises(InputError, match=match):
        plan(**settings)
