import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_training.metrics.ranking import ece
from pocketrec_training.ranker.calibration import isotonic, platt
from pocketrec_training.ranker.model import Calibration


def sample(n: int, odds) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with the log-odds that `odds` makes of them."""
    rng = np.random.default_rng(4)
    logits = rng.normal(size=n).astype(np.float32)
    labels = (rng.random(n) < 1 / (1 + np.exp(-odds(logits)))).astype(np.float32)
    return logits, labels


def test_platt_finds_the_line_that_made_the_labels():
    logits, labels = sample(40_000, lambda x: 2 * x - 3)
    found = platt(logits, labels)
    assert (found.scale, found.shift) == pytest.approx((2, -3), abs=0.15)
    assert not found.slopes.any()


@pytest.mark.parametrize("fit", [platt, isotonic])
def test_a_score_that_points_backwards_and_a_single_class_stay_as_they_are(fit):
    logits, labels = sample(2_000, lambda x: -2 * x)
    for values in (labels, np.zeros_like(labels)):
        found = fit(logits, values)
        assert found.scale > 0
    assert (platt(logits, labels).scale, platt(logits, labels).shift) == (1, 0)


def test_isotonic_follows_a_bend_that_platt_cannot():
    bent = lambda x: np.where(x < 0, -2 + 0.3 * x, -2 + 4 * x)  # noqa: E731
    logits, labels = sample(40_000, bent)
    fresh, truth = sample(20_000, bent)
    line, curve = platt(logits, labels), isotonic(logits, labels)
    assert ece(truth, curve.probabilities(fresh)) < 0.01 < ece(truth, line.probabilities(fresh))


def test_isotonic_keeps_the_order():
    logits, labels = sample(3_000, np.sin)
    grid = np.linspace(-6, 6, 500).astype(np.float32)
    assert (np.diff(isotonic(logits, labels).probabilities(grid)) > 0).all()


def test_the_layer_computes_what_was_fitted():
    logits, labels = sample(5_000, lambda x: np.where(x < 0, x - 3, 3 * x - 3))
    curve = isotonic(logits, labels)
    layer = Calibration()
    layer.build((None, 1))
    for name in ("scale", "shift"):
        getattr(layer, name).assign([getattr(curve, name)])
    for name in ("knots", "slopes"):
        getattr(layer, name).assign(getattr(curve, name)[:, None])
    found = np.asarray(layer(logits[:, None]))[:, 0]
    assert np.allclose(found, curve.probabilities(logits), atol=1e-5)
