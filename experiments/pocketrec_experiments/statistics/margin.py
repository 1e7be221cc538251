"""Guardrails: is the treatment worse than control by more than a tolerated share?"""

import math
from dataclasses import dataclass

from pocketrec_experiments.statistics.effects import Ratio, estimate
from pocketrec_experiments.statistics.sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """The treatment against the limit that control sets.

    Attributes:
        control: metric of the control.
        treatment: metric of the treatment.
        limit: the worst tolerated value of the treatment: control changed by `worse_by`.
        se: standard error of treatment - limit.
        z: standard errors by which the treatment is beyond the limit; positive is worse. NaN if
            nothing varies or an arm has too few users.
    """

    control: float
    treatment: float
    limit: float
    se: float
    z: float


def margin(
    control: Sums, treatment: Sums, metric: Ratio, *, worse_by: float, is_higher_better: bool
) -> Margin:
    """Compare the treatment with control * (1 + worse_by), or with 1 - worse_by of it.

    Args:
        control: sums of the control's users.
        treatment: sums of the treatment's users.
        metric: what is compared.
        worse_by: tolerated relative change for the worse, 0..10.
        is_higher_better: True for conversion, False for latency.
    """
    c, vc, t, vt = estimate(control, treatment, metric)
    factor = 1 - worse_by if is_higher_better else 1 + worse_by
    beyond = factor * c - t if is_higher_better else t - factor * c
    variance = vt + factor**2 * vc
    se = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.nan
    z = beyond / se if se > 0 else math.nan
    return Margin(control=c, treatment=t, limit=factor * c, se=se, z=z)
