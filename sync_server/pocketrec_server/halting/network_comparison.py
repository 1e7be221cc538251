"""Compare an arm with control so that one network can neither cause a halt nor prevent one.

Reports carry no proof, and one sender can invent any number of devices. So (docs/decisions/0033):

- Each network has the weight of one device, split over its devices in all arms. Arms are drawn
  device by device, so without an effect both arms still have the same expectation.
- A device has one value of a metric, such as the share of its slates without a model.
- A value above that of the third-highest network is cut to it.
- The network that speaks most for a halt is left out.

With the devices' past, changes are compared in place of values, each cut to the third-lowest and
the third-highest of the networks of its arm (docs/decisions/0034).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_experiments.statistics.effects import Ratio
from pocketrec_experiments.statistics.margin import Margin, margin
from pocketrec_experiments.statistics.metrics import METRICS, Metric
from pocketrec_experiments.statistics.sums import Sums
from pocketrec_server.halting.devices import Figures, Member

Array = npt.NDArray[np.float64]
ByInstall = Mapping[int, Figures]

FEWEST_NETWORKS = 50
"""Minimum networks of each arm: with fewer, early bounds are crossed by chance too often."""
FEWEST_HARMED = 3
"""Minimum networks in which the arm is beyond the limit, without the one that is left out."""
BY_DAY = Metric(
    name="conversion", title="Conversion", numerator="converted_days", denominator="days"
)
"""Conversion over periods of different length: days with one, as a share of the days of use."""
_VALUE, _WEIGHT = "value", "weight"
_MEAN = Ratio(numerator=_VALUE, denominator=_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An arm against control.

    Attributes:
        margin: without the network that speaks most for a halt.
        control: metric that the arm would have without an effect: that of control, or with a past,
            the arm's own past and the change of control.
        treatment: metric of the arm.
        networks: networks of the smaller arm.
        harmed: networks in which the arm is beyond the limit, without the one that is left out.
    """

    margin: Margin
    control: float
    treatment: float
    networks: int
    harmed: int

    def information(self, level: float) -> float:
        """Return the information about a level of the metric, as `sequential_bounds` uses it."""
        return (max(abs(level), self.margin.se) / self.margin.se) ** 2


@dataclass(frozen=True, slots=True)
class _Arm:
    """One row a network that has devices in the arm: its number, sums of values, past, weights."""

    networks: npt.NDArray[np.int64]
    rows: Array

    @property
    def means(self) -> Array:
        return self.rows[:, :2] / self.rows[:, 2:]

    def changed(self, share: float) -> "_Arm":
        """Return the arm with `share` of the past taken off its values."""
        values, past, weights = self.rows.T
        return _Arm(self.networks, np.column_stack([values - share * past, past, weights]))

    def trimmed(self) -> "_Arm":
        """Return the arm with its networks' values cut to the third-lowest and third-highest."""
        ordered = np.sort(self.means[:, 0])
        low, high = ordered[FEWEST_HARMED - 1], ordered[-FEWEST_HARMED]
        values = np.clip(self.means[:, 0], low, high) * self.rows[:, 2]
        return _Arm(self.networks, np.column_stack([values, self.rows[:, 1:]]))

    def without(self, network: int) -> Array:
        kept: Array = self.rows[self.networks != network]
        return kept


def compare(
    found: Sequence[Member],
    figures: ByInstall,
    control: str,
    treatment: str,
    guardrail: Guardrail,
    past: ByInstall | None = None,
) -> Comparison | None:
    """Compare two arms; None: too few networks, or nothing varies.

    Args:
        found: devices of all arms.
        figures: of the devices, by install; devices without figures are left out.
        control: name of the arm.
        treatment: name of the arm.
        guardrail: metric and limit.
        past: figures of the time before; None: values are compared, not changes. A device needs
            both values.
    """
    metric = METRICS[guardrail.metric]
    if past is not None and metric.name == BY_DAY.name:
        metric = BY_DAY
    used = [one for one in found if one.install in figures]
    numbers = {name: n for n, name in enumerate(sorted({one.network for one in used}))}
    sizes = Counter(one.network for one in used)
    arms = {}
    for arm in (control, treatment):
        cells: dict[int, list[float]] = {}
        for one in (each for each in used if each.arm == arm):
            value = _value(figures[one.install], metric)
            before = 0.0 if past is None else _value(past[one.install], metric)
            if value is not None and before is not None:
                cell = cells.setdefault(numbers[one.network], [0.0, 0.0, 0.0])
                for at, each in enumerate((value, before, 1.0)):
                    cell[at] += each / sizes[one.network]
        if len(cells) < FEWEST_NETWORKS:
            return None
        arms[arm] = _Arm(np.array(list(cells)), np.array(list(cells.values()), np.float64))
    cut = _cut(arms[control], arms[treatment])
    return _compared(*cut, metric, guardrail, has_past=past is not None)


def _value(figures: Figures, metric: Metric) -> float | None:
    """Return the metric of one device; None without a denominator."""
    above = float(getattr(figures, metric.numerator))
    below = 1.0 if metric.denominator is None else float(getattr(figures, metric.denominator))
    return above / below if below > 0 else None


def _cut(control: _Arm, treatment: _Arm) -> tuple[_Arm, _Arm]:
    """Cut the values of networks, present and past, to the third-highest of a network."""
    highest: dict[int, float] = {}
    for arm in (control, treatment):
        for network, most in zip(arm.networks.tolist(), arm.means.max(axis=1), strict=True):
            highest[network] = max(float(most), highest.get(network, -math.inf))
    cap = sorted(highest.values(), reverse=True)[FEWEST_HARMED - 1]

    def capped(arm: _Arm) -> _Arm:
        values = np.minimum(arm.means, cap) * arm.rows[:, 2:]
        return _Arm(arm.networks, np.column_stack([values, arm.rows[:, 2]]))

    return capped(control), capped(treatment)


def _compared(
    control: _Arm, treatment: _Arm, metric: Metric, guardrail: Guardrail, *, has_past: bool
) -> Comparison | None:
    """Compare arms by their networks.

    With T and C the means of the arms, t and c those of their past, and f the tolerated factor, the
    arm is beyond its limit if T is worse than f (t + C - c). So T - f t is compared with f (C - c).
    Without a past t and c are 0.
    """
    higher = bool(metric.is_higher_better)
    factor = 1 - guardrail.worse_by if higher else 1 + guardrail.worse_by
    sign = -1.0 if higher else 1.0
    ours, theirs = treatment.changed(factor), control.changed(1.0)
    if has_past:  # else a forged past and present would weigh twice
        ours, theirs = ours.trimmed(), theirs.trimmed()
    influence = np.zeros(int(max(control.networks.max(), treatment.networks.max())) + 1)
    for arm, weight in ((theirs, -factor * sign), (ours, sign)):  # on the distance, by network
        values, _, weights = arm.rows.T
        mean = values.sum() / weights.sum()
        influence[arm.networks] += weight * (values - mean * weights) / weights.sum()
    most = int(influence.argmax())
    seen = margin(
        _sums(theirs.without(most)),
        _sums(ours.without(most)),
        _MEAN,
        worse_by=guardrail.worse_by,
        is_higher_better=higher,
    )
    if not math.isfinite(seen.z):
        return None
    beyond = sign * (ours.means[:, 0] - seen.limit) > 0
    value, past, weight = treatment.without(most).sum(axis=0)
    return Comparison(
        margin=seen,
        control=seen.control + past / weight,
        treatment=value / weight,
        networks=min(len(control.networks), len(treatment.networks)),
        harmed=int(beyond[treatment.networks != most].sum()),
    )


def _sums(rows: Array) -> Sums:
    return Sums.of_rows((_VALUE, _WEIGHT), rows[:, [0, 2]])
