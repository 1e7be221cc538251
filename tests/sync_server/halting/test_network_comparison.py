"""Arms are compared by networks: error rate by simulation, and what one network can do."""

from statistics import NormalDist, fmean

import numpy as np
import pytest

from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_experiments.statistics.sequential import sequential_bounds, spending
from pocketrec_server.halting.devices import Figures, Member
from pocketrec_server.halting.looks import Look, bound_of
from pocketrec_server.halting.network_comparison import FEWEST_NETWORKS, compare

DAYS, TRIALS, ALPHA = 28, 100, 0.1
FALLBACKS = Guardrail(metric="fallback_share", worse_by=0.1, alpha=ALPHA)
SLOW = Guardrail(metric="slate_ms", worse_by=0.1, alpha=ALPHA)
SALES = Guardrail(metric="conversion", worse_by=0.1, alpha=ALPHA)


def fleet(rows):
    """Return members and figures of rows (network, arm, figures)."""
    found = [
        Member(install=n, arm=arm, network=f"{network}", exposed_utc=0)
        for n, (network, arm, _) in enumerate(rows)
    ]
    return found, {n: sums for n, (_, _, sums) in enumerate(rows)}


def look(rows, guardrail):
    found, figures = fleet(rows)
    return compare(found, figures, "control", "treatment", guardrail)


def slates(fallbacks, n=10, ms=50.0):
    return Figures(requests=n, fallbacks=fallbacks, timed=n, slate_ms=n * ms)


def honest(fallbacks=(1, 1), ms=(50, 50), n=120):
    arms = ("control", "treatment")
    return [
        (k, arms[k % 2], slates(fallbacks[k % 2] * (k % 5 > 0), ms=ms[k % 2] + k % 11))
        for k in range(n)
    ]


def trial(rng, worse_by, tail):
    """Return the largest excess of z over its bound in 28 daily looks, at the limit's edge."""
    per_day = 30
    bounds = sequential_bounds([d / DAYS for d in range(1, DAYS + 1)], alpha=ALPHA, sides=1).z
    rows, most = [], -np.inf
    for day in range(DAYS):
        networks = rng.integers(0, 3000, per_day) ** 2 // 3000  # few have many devices
        for network, arm in zip(networks, rng.choice([0, 1], per_day, p=[0.7, 0.3]), strict=True):
            own = np.random.default_rng(network).lognormal(0, tail)  # phones of a network are alike
            ms = 50 * own * rng.lognormal(0, tail) * (1 + worse_by * arm)
            rows.append((network, ("control", "treatment")[arm], slates(0, 1, ms)))
        if (seen := look(rows, SLOW)) is not None:
            most = max(most, seen.margin.z - bounds[day])
    return most


def test_an_arm_at_the_edge_of_its_limit_is_halted_no_more_often_than_alpha():
    """With skewed latencies, unequal shares and networks of very different size."""
    rng = np.random.default_rng(7)
    false = fmean(trial(rng, SLOW.worse_by, tail=0.7) > 0 for _ in range(TRIALS))
    assert false <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / TRIALS) ** 0.5


def test_harm_is_found_and_no_harm_is_not():
    harmed, sound = look(honest((1, 4)), FALLBACKS), look(honest(), FALLBACKS)
    assert harmed is not None and harmed.margin.z > 8 and harmed.harmed > 40
    assert sound is not None and sound.margin.z < 0
    slow = look(honest(ms=(50, 90)), SLOW)
    assert slow is not None and slow.margin.z > 8


def test_fewer_networks_than_the_minimum_are_not_compared():
    assert look(honest(n=2 * FEWEST_NETWORKS - 1), FALLBACKS) is None
    assert look(honest(n=2 * FEWEST_NETWORKS), FALLBACKS) is not None


def test_devices_of_one_network_weigh_as_one_whatever_they_send():
    crowd = [("x", "treatment", slates(10))] * 5000 + [("x", "control", slates(0))] * 5000
    seen = look(honest() + crowd, FALLBACKS)
    assert seen is not None and seen.margin.z < 0


def test_the_network_that_speaks_most_for_a_halt_is_left_out():
    """Without that, one network of 61 would be beyond a limit on few fallbacks."""
    rows = honest((0, 0))
    rows[0] = (0, "control", slates(1))
    rows[2] = (2, "control", slates(1))
    rows[5] = (5, "treatment", slates(1))
    seen = look([*rows, ("x", "treatment", slates(10))], FALLBACKS)
    assert seen is not None and seen.margin.treatment == pytest.approx(0.1 / 60)
    assert seen.harmed == 1


@pytest.mark.parametrize("guardrail", [FALLBACKS, SLOW])
def test_one_network_that_reports_the_opposite_does_not_hide_harm(guardrail):
    harmed = honest((1, 5), (50, 250))
    plain = look(harmed, guardrail)
    crowd = [("x", "treatment", slates(0, ms=0))] * 500
    crowd += [("x", "control", slates(10, ms=60_000))] * 500
    against = look(harmed + crowd, guardrail)
    assert plain is not None and against is not None
    assert plain.margin.z > against.margin.z > 8


def test_conversion_is_worse_if_lower():
    def rows(share):
        return [
            (k, ("control", "treatment")[k % 2], Figures(converted=float(k % 10 < share[k % 2])))
            for k in range(400)
        ]

    fewer, more = look(rows((6, 2)), SALES), look(rows((2, 6)), SALES)
    assert fewer is not None and fewer.margin.z > 5 and fewer.harmed > 100
    assert more is not None and more.margin.z < -5


def past_look(day, networks=60):
    return Look(
        subject="",
        arm="",
        guardrail="",
        day=day,
        networks=networks,
        control=0.0,
        treatment=0.0,
        information=100.0 * day,
        z=0.0,
        bound=0.0,
        broken=0,
    )


def test_looks_that_are_made_spend_and_days_without_a_look_do_not():
    made = [past_look(day) for day in range(1, 8)]
    daily = sequential_bounds([d / 10 for d in range(1, 9)], alpha=0.05, sides=1)
    today = {"networks": 60}
    assert bound_of(made, 8, 800.0, 10, 0.05, **today) == pytest.approx(daily.z[-1])
    assert bound_of([], 8, 800.0, 10, 0.05, **today) < daily.z[-1]
    # The same look again:
    assert bound_of(made, 7, 700.0, 10, 0.05, **today) == pytest.approx(daily.z[-2])


def test_after_a_loss_of_networks_looks_share_what_the_earlier_ones_left_of_alpha():
    made = [past_look(day, networks=200) for day in range(1, 8)]
    left = 0.05 - spending(0.7, 0.05)
    first = NormalDist().inv_cdf(1 - spending(0.8, left))
    bound = bound_of(made, 8, 90.0, 10, 0.05, networks=60)
    assert bound == pytest.approx(first, abs=1e-6)
    assert bound > bound_of([], 8, 90.0, 10, 0.05, networks=60)
    few_erased = bound_of(made, 8, 800.0, 10, 0.05, networks=185)
    assert few_erased == pytest.approx(bound_of(made, 8, 800.0, 10, 0.05, networks=200))
    again = [*made, past_look(8, networks=60)]
    pair = sequential_bounds([0.8, 0.9], alpha=left, sides=1, information=[800.0, 900.0])
    assert bound_of(again, 9, 900.0, 10, 0.05, networks=70) == pytest.approx(pair.z[-1])
