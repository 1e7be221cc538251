"""Distances against hand calculations and SciPy; their size without drift against simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from pocketrec_experiments.monitoring.distance import jensen_shannon, psi, psi_by_chance

COUNTS = st.lists(st.integers(0, 10**6), min_size=2, max_size=20)


def test_psi_of_two_bins_by_hand():
    # (.25 - .5) ln(.25 / .5) + (.75 - .5) ln(.75 / .5) = .25 ln 2 + .25 ln 1.5
    found = psi(np.array([500_000, 500_000]), np.array([250_000, 750_000]))
    assert found == pytest.approx(0.25 * np.log(2) + 0.25 * np.log(1.5), rel=1e-5)


@given(COUNTS, st.randoms(use_true_random=False))
def test_distances_are_symmetric_finite_and_zero_for_the_same(counts, random):
    other = [random.randrange(10**6) for _ in counts]
    a, b = np.array(counts), np.array(other)
    assert psi(a, a) == pytest.approx(0, abs=1e-12)
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert 0 <= psi(a, b) < 100
    assert -1e-12 <= jensen_shannon(a, b) <= 1 + 1e-12


@given(COUNTS)
def test_jensen_shannon_is_that_of_scipy(counts):
    a, b = np.array(counts), np.array(counts[::-1])
    expected = jensenshannon(a + 0.5, b + 0.5, base=2) ** 2
    assert jensen_shannon(a, b) == pytest.approx(expected, abs=1e-9)


def test_disjoint_distributions_are_one_bit_apart():
    assert jensen_shannon(np.array([10**9, 0]), np.array([0, 10**9])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("bins", "n", "m"), [(10, 2000, 500), (4, 300, 5000)])
def test_the_psi_without_drift_is_as_stated(bins, n, m):
    rng = np.random.default_rng(5)
    shares = np.full(bins, 1 / bins)
    drawn = [psi(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(3000)]
    assert psi_by_chance(np.array([n]), np.array([m])) == 0  # a single bin
    counts = rng.multinomial(n, shares), rng.multinomial(m, shares)
    assert np.mean(drawn) == pytest.approx(psi_by_chance(*counts), rel=0.06)
