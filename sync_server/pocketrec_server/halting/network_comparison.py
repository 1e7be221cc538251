"""Compare an arm with control so that one network can neither cause a halt nor prevent one.

Reports carry no proof, and one sender can invent any number of devices. So (docs/decisions/0033):

- Each network has the weight of one device, split over its devices in all arms. Arms are drawn
  device by device, so without an effect both arms still have the same expectation.
- A device has one value of a metric, such as the share of its slates without a model.
- A value above that of the third-highest network is cut to it.
- The network that speaks most for a halt is left out.
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

FEWEST_NETWORKS = 50
"""Minimum networks of each arm: with fewer, early bounds are crossed by chance too often."""
FEWEST_HARMED = 3
"""Minimum networks in which the arm is beyond the limit, without the one that is left out."""
_VALUE, _WEIGHT = "value", "weight"
_MEAN = Ratio(numerator=_VALUE, denominator=_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An arm against control.

    Attributes:
        margin: without the network that speaks most for a halt.
        networks: networks of the smaller arm.
        harmed: networks in which the arm is beyond the limit, without the one that is left out.
    """

    margin: Margin
    networks: int
    harmed: int


@dataclass(frozen=True, slots=True)
class _Arm:
    """One row a network that has devices in the arm: its number, sum of values, sum of weights."""

    networks: npt.NDArray[np.int64]
    rows: Array

    @property
    def means(self) -> Array:
        return self.rows[:, 0] / self.rows[:, 1]

    def without(self, network: int) -> Sums:
        return Sums.of_rows((_VALUE, _WEIGHT), self.rows[self.networks != network])


def compare(
    found: Sequence[Member],
    figures: Mapping[int, Figures],
    control: str,
    treatment: str,
    guardrail: Guardrail,
) -> Comparison | None:
    """Compare two arms; None: too few networks, or nothing varies.

    Args:
        found: devices of all arms.
        figures: of the devices, by install; devices without figures are left out.
        control: name of the arm.
        treatment: name of the arm.
        guardrail: metric and limit.
    """
    metric = METRICS[guardrail.metric]
    used = [one for one in found if one.install in figures]
    numbers = {name: n for n, name in enumerate(sorted({one.network for one in used}))}
    sizes = Counter(one.network for one in used)
    arms = {}
    for arm in (control, treatment):
        cells: dict[int, list[float]] = {}
        for one in used:
            value = _value(figures[one.install], metric)
            if one.arm == arm and value is not None:
                cell = cells.setdefault(numbers[one.network], [0.0, 0.0])
                cell[0] += value / sizes[one.network]
                cell[1] += 1 / sizes[one.network]
        if len(cells) < FEWEST_NETWORKS:
            return None
        arms[arm] = _Arm(np.array(list(cells)), np.array(list(cells.values()), np.float64))
    return _compared(*_cut(arms[control], arms[treatment]), metric, guardrail)


def _value(figures: Figures, metric: Metric) -> float | None:
    """Return the metric of one device; None without a denominator."""
    above = float(getattr(figures, metric.numerator))
    below = 1.0 if metric.denominator is None else float(getattr(figures, metric.denominator))
    return above / below if below > 0 else None


def _cut(control: _Arm, treatment: _Arm) -> tuple[_Arm, _Arm]:
    """Cut the values of networks to that of the third-highest one."""
    highest: dict[int, float] = {}
    for arm in (control, treatment):
        for network, mean in zip(arm.networks.tolist(), arm.means.tolist(), strict=True):
            highest[network] = max(mean, highest.get(network, -math.inf))
    cap = sorted(highest.values(), reverse=True)[FEWEST_HARMED - 1]

    def capped(arm: _Arm) -> _Arm:
        values = np.minimum(arm.means, cap) * arm.rows[:, 1]
        return _Arm(arm.networks, np.column_stack([values, arm.rows[:, 1]]))

    return capped(control), capped(treatment)


def _compared(
    control: _Arm, treatment: _Arm, metric: Metric, guardrail: Guardrail
) -> Comparison | None:
    higher = bool(metric.is_higher_better)
    factor = 1 - guardrail.worse_by if higher else 1 + guardrail.worse_by
    sign = -1.0 if higher else 1.0
    size = int(max(control.networks.max(), treatment.networks.max())) + 1
    influence = np.zeros(size)  # on the distance to the limit, by network
    for arm, weight in ((control, -factor * sign), (treatment, sign)):
        values, weights = arm.rows.T
        mean = values.sum() / weights.sum()
        influence[arm.networks] += weight * (values - mean * weights) / weights.sum()
    most = int(influence.argmax())
    seen = margin(
        control.without(most),
        treatment.without(most),
        _MEAN,
        worse_by=guardrail.worse_by,
        is_higher_better=higher,
    )
    if not math.isfinite(seen.z):
        return None
    beyond = sign * (treatment.means - seen.limit) > 0
    return Comparison(
        margin=seen,
        networks=min(len(control.networks), len(treatment.networks)),
        harmed=int(beyond[treatment.networks != most].sum()),
    )
