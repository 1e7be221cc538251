"""Releases are compared by the changes of devices: error rate by simulation, and what is found.

The simulated fleet is one that misleads a plain comparison: active users sync first and click less,
some clicks are those of a weekend, and phones that cannot install the release are slow.
"""

from statistics import fmean

import numpy as np
import pytest

from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_experiments.statistics.sequential import sequential_bounds
from pocketrec_server.halting.devices import Figures, Member
from pocketrec_server.halting.network_comparison import compare
from pocketrec_server.halting.release_devices import EARLIER, NEW
from pocketrec_server.halting.release_guard import alpha_of

ALPHA, DAYS, PAST, TRIALS, PHONES = 0.1, 7, 14, 40, 500
LOOKS = (2, 4, 7)
CTR = Guardrail(metric="ctr", worse_by=0.05, alpha=ALPHA)
SLOW = Guardrail(metric="slate_ms", worse_by=0.05, alpha=ALPHA)
SALES = Guardrail(metric="conversion", worse_by=0.05, alpha=ALPHA)


class Fleet:
    """Phones by row and days by column; stages of a rollout begin on days of `stages`."""

    def __init__(self, seed, stages, harm=1.0):
        rng = np.random.default_rng(seed)
        self.stages, days = stages, PAST + max(stages) + DAYS
        activity = rng.lognormal(0.5, 1.0, PHONES)
        self.draw = rng.uniform(size=PHONES)
        ratio = np.clip(0.35 * activity**-0.4, 0.02, 0.8)[:, None]  # active users click less
        weekend = np.where(np.arange(days) % 7 > 4, 1.3, 1.0)
        syncs = rng.uniform(size=(PHONES, days)) < 1 - np.exp(-0.4 * activity)[:, None]
        self.fails = (rng.uniform(size=PHONES) < 0.1) & (activity < 1)  # old phones
        self.entered = {day: self._first(syncs, PAST + day) for day in stages}
        self.release = np.full(PHONES, days)  # from this day on
        for day, share in stages.items():
            offered = (self.draw < share) & ~self.fails
            self.release = np.where(
                offered, np.minimum(self.release, self.entered[day]), self.release
            )
        has = np.arange(days) >= self.release[:, None]
        self.slates = rng.poisson(activity[:, None], (PHONES, days))
        effect = np.where(has, harm, 1.0)
        self.clicks = rng.binomial(self.slates, np.clip(ratio * weekend * effect, 0, 1))
        own = rng.lognormal(0, 0.5, PHONES) * np.where(self.fails, 2.0, 1.0)
        self.ms = 50 * own[:, None] * rng.lognormal(0, 0.3, (PHONES, days)) / effect * self.slates
        self.sales = rng.uniform(size=(PHONES, days)) < 0.3 * effect * (self.slates > 0)

    @staticmethod
    def _first(syncs, since):
        late = syncs[:, since:]
        return np.where(late.any(axis=1), late.argmax(axis=1) + since, syncs.shape[1])

    def look(self, stage, day, guardrail):
        """Compare as the server does, `day` days after a stage began."""
        begin, end, entered = PAST + stage, PAST + stage + day, self.entered[stage]
        found, since, past = [], {}, {}
        for n in np.flatnonzero((entered < end) & (self.release >= begin)).tolist():
            arm = NEW if self.release[n] < end else EARLIER
            found.append(Member(install=n, arm=arm, network=f"{n}", exposed_utc=0))
            since[n] = self.figures(n, entered[n], end)
            past[n] = self.figures(n, entered[n] - PAST, entered[n])
        return compare(found, since, EARLIER, NEW, guardrail, past)

    def plain(self, stage, day, guardrail):
        """Compare all phones with the release and all others on the days of the stage."""
        begin, end = PAST + stage, PAST + stage + day
        found, values = [], {}
        for n in range(PHONES):
            arm = NEW if self.release[n] < end else EARLIER
            found.append(Member(install=n, arm=arm, network=f"{n}", exposed_utc=0))
            values[n] = self.figures(n, max(begin, self.release[n] if arm == NEW else 0), end)
        return compare(found, values, EARLIER, NEW, guardrail)

    def figures(self, n, begin, end):
        at = slice(int(begin), int(end))
        slates = float(self.slates[n, at].sum())
        made = Figures(requests=slates, timed=slates, impressions=slates)
        made.clicks, made.slate_ms = float(self.clicks[n, at].sum()), float(self.ms[n, at].sum())
        for day in np.flatnonzero(self.slates[n, at]).tolist():
            made.count(day * 86_400, converts=bool(self.sales[n, begin + day]))
        return made


def halts(fleet, guardrail, look):
    """Whether a rollout is halted: looks at each stage, with its part of alpha."""
    fractions = [day / DAYS for day in LOOKS]
    for number, stage in enumerate(fleet.stages, 1):
        bounds = sequential_bounds(fractions, alpha=alpha_of(ALPHA, number), sides=1).z
        for day, bound in zip(LOOKS, bounds, strict=True):
            seen = look(stage, day, guardrail)
            if seen is not None and seen.margin.z > bound:
                return True
    return False


@pytest.mark.parametrize("guardrail", [CTR, SLOW, SALES], ids=lambda one: one.metric)
def test_a_release_like_the_earlier_one_is_halted_no_more_often_than_alpha(guardrail):
    """At the edge of its limit, in a rollout of two stages."""
    edge = 0.95 if guardrail is not SLOW else 1 / 1.05
    fleets = (Fleet(n, {0: 0.3, DAYS: 0.6}, edge) for n in range(TRIALS))
    false = fmean(halts(fleet, guardrail, fleet.look) for fleet in fleets)
    assert false <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / TRIALS) ** 0.5


def test_a_plain_comparison_halts_a_sound_release():
    fleets = [Fleet(n, {0: 0.5}) for n in range(20)]
    assert fmean(halts(fleet, CTR, fleet.plain) for fleet in fleets) > 3 * ALPHA
    assert fmean(halts(fleet, CTR, fleet.look) for fleet in fleets) <= ALPHA


@pytest.mark.parametrize("guardrail", [CTR, SLOW, SALES], ids=lambda one: one.metric)
def test_a_bad_release_is_halted(guardrail):
    fleets = (Fleet(n, {0: 0.4}, 0.6) for n in range(10))
    assert fmean(halts(fleet, guardrail, fleet.look) for fleet in fleets) >= 0.9


def test_all_stages_of_a_rollout_spend_less_than_alpha():
    assert sum(alpha_of(ALPHA, n) for n in range(1, 19)) < ALPHA
    assert alpha_of(ALPHA, 1) == ALPHA / 2


def test_the_figures_are_those_of_the_changes():
    """Earlier: past 0.4, since 0.3. New: past 0.2, since 0.05; without an effect it is 0.1."""
    found, since, past = [], {}, {}
    for n in range(240):
        side, (before, after) = ((EARLIER, (40, 30)), (NEW, (20, 5)))[n % 2]
        found.append(Member(install=n, arm=side, network=f"{n}", exposed_utc=0))
        past[n] = Figures(impressions=100, clicks=before + n // 2 % 3 - 1)
        since[n] = Figures(impressions=100, clicks=after + n // 2 % 5 - 2)
    seen = compare(found, since, EARLIER, NEW, CTR, past)
    assert seen is not None
    assert seen.control == pytest.approx(0.1, abs=0.002)
    assert seen.treatment == pytest.approx(0.05, abs=0.002)
    assert seen.margin.z > 5 and seen.harmed > 100
