"""Fit what the ranker's `Calibration` layer computes: probabilities out of scores.

Both fits run on whole retrieved lists, the distribution that devices meet; on one positive to a few
drawn negatives the probabilities would be an order of magnitude too high.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from pocketrec_bundle.floats import Floats64
from pocketrec_training.ranker.model import KNOTS

_LEAST_SLOPE = 0.05
"""A flat piece would make ties of what the ranker tells apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """x = scale * logit + shift, then x + sum slopes * relu(x - knots); knots, slopes [KNOTS]."""

    scale: float
    shift: float
    knots: Floats64
    slopes: Floats64

    def probabilities(self, logits: NDArray[np.float32]) -> Floats64:
        """Return what the layer returns, float64 [n]."""
        x = logits.astype(np.float64) * self.scale + self.shift
        bent = x + (np.maximum(x[:, None] - self.knots, 0.0) * self.slopes).sum(1)
        found: Floats64 = 1.0 / (1.0 + np.exp(-bent))
        return found


def platt(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> Curve:
    """Fit two numbers (Platt 1999); one class only, or a score that points backwards: identity."""
    none = np.zeros(KNOTS)
    if 0 < labels.sum() < len(labels):
        found = LogisticRegression(C=1e6).fit(logits[:, None], labels)
        # A negative slope would turn the order round; a head that weak keeps its order.
        if found.coef_[0, 0] > 0:
            scale, shift = float(found.coef_[0, 0]), float(found.intercept_[0])
            return Curve(scale=scale, shift=shift, knots=none, slopes=none)
    return Curve(scale=1.0, shift=0.0, knots=none, slopes=none)


def isotonic(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> Curve:
    """Fit a rising curve of straight pieces, by maximum likelihood over log-odds.

    Isotonic regression (Zadrozny and Elkan 2002) with KNOTS pieces instead of a step an example:
    the knots are quantiles of the positives' scores, where the evidence is, and each piece's slope
    is at least `_LEAST_SLOPE`, so that no step makes ties.
    """
    is_binary = bool(((labels == 0) | (labels == 1)).all())
    line = (platt if is_binary else fractional)(logits, labels)
    positives = logits[labels > 0].astype(np.float64)
    if len(positives) < 10 * KNOTS:
        return line  # a piece would rest on a handful of events
    knots = np.unique(np.quantile(positives, np.linspace(0.02, 0.98, KNOTS)))
    if len(knots) < KNOTS:
        return line  # scores that hardly differ
    x = logits.astype(np.float64)
    inner = np.clip(x[:, None], knots[:-1], knots[1:]) - knots[:-1]  # [n, KNOTS - 1]
    pieces = np.column_stack([np.minimum(x, knots[0]), inner, np.maximum(x - knots[-1], 0.0)])
    pieces = np.column_stack([pieces, np.ones(len(x))])

    def loss(weights: Floats64) -> tuple[float, Floats64]:
        odds = pieces @ weights
        rates = 1.0 / (1.0 + np.exp(-odds))
        return (
            float(np.mean(np.logaddexp(0.0, odds) - labels * odds)) * scaled,
            pieces.T @ (rates - labels) / len(x) * scaled,
        )

    scaled = 1.0 if is_binary else 1.0 / float(labels.mean())  # see `fractional`
    start = np.append(np.full(KNOTS + 1, line.scale), line.shift)
    bounds = [(_LEAST_SLOPE, None)] * (KNOTS + 1) + [(None, None)]
    *found, shift = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Curve(
        scale=float(found[0]),
        shift=float(shift),
        knots=knots * found[0] + shift,
        slopes=np.diff(found) / found[0],
    )


def fractional(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> Curve:
    """Fit two numbers to labels 0..1 by fractional logit (Papke and Wooldridge 1996).

    The mean of what it returns is that of the labels. Labels of 0 alone, or a score that points
    backwards: identity.
    """
    none, x = np.zeros(KNOTS), logits.astype(np.float64)
    plain = Curve(scale=1.0, shift=0.0, knots=none, slopes=none)
    if not 0 < float(labels.sum()) < len(labels):
        return plain

    def loss(weights: Floats64) -> tuple[float, Floats64]:
        odds = x * weights[0] + weights[1]
        away = 1.0 / (1.0 + np.exp(-odds)) - labels
        value = float(np.mean(np.logaddexp(0.0, odds) - labels * odds))
        return value * scaled, np.array([np.mean(away * x), np.mean(away)]) * scaled

    # A mean of a millionth of the largest value has losses that the solver takes for 0.
    scaled = 1.0 / float(labels.mean())
    start = np.array([1.0, np.log(labels.mean()) - np.log(np.mean(1.0 / (1.0 + np.exp(-x))))])
    scale, shift = minimize(loss, start, jac=True, method="L-BFGS-B").x
    if scale <= 0:
        return plain
    return Curve(scale=float(scale), shift=float(shift), knots=none, slopes=none)


FITS = {"platt": platt, "isotonic": isotonic}
