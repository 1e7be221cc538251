"""Examination is fitted from explored impressions, whatever else differs between places."""

import numpy as np
import pytest

from pocketrec_experiments.off_policy.examination import examination_curve, fit_examination


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.2])
def test_the_fit_finds_the_exponent(eta):
    rng = np.random.default_rng(8)
    place = rng.integers(2, 11, 60_000)  # the first place does not explore
    clicked = rng.random(len(place)) < 0.4 * place**-eta
    found = fit_examination(place, clicked)
    assert abs(found.eta - eta) < max(3 * found.se, 1e-9)
    assert found.se < 0.05
    assert found.clicks == clicked.sum() and found.impressions == len(place)
    assert found.curve(3) == pytest.approx(np.array([1, 2, 3]) ** -found.eta)


def test_uneven_exposure_is_not_taken_for_examination():
    place = np.repeat([1, 4], [1000, 9000])
    clicked = np.arange(10_000) % 10 == 0  # a tenth of either place
    assert fit_examination(place, clicked).eta == pytest.approx(0.0, abs=1e-6)


def test_the_maximum_is_the_one_of_a_plain_search():
    rng = np.random.default_rng(9)
    place = rng.integers(1, 6, 500)
    clicked = rng.random(500) < 0.3 / place
    shown = np.bincount(place, minlength=6)[1:]

    def likelihood(eta):
        odds = shown * np.arange(1, 6) ** -eta
        return np.log((odds / odds.sum())[place[clicked] - 1]).sum()

    grid = np.linspace(0, 5, 5001)
    best = grid[np.argmax([likelihood(eta) for eta in grid])]
    assert fit_examination(place, clicked).eta == pytest.approx(best, abs=1e-3)


def test_without_clicks_or_with_one_place_nothing_is_known():
    assert fit_examination(np.array([1, 2]), np.zeros(2, bool)).se == np.inf
    assert fit_examination(np.array([2, 2]), np.ones(2, bool)).se == np.inf
    assert examination_curve(1.0, 2).tolist() == [1.0, 0.5]
