import numpy as np
import pytest

from pocketrec_bundle.golden.vectors import Golden
from pocketrec_edge.engines.select import MODELS
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases.parity import compare_outputs, hard_inputs, overlap, spearman
from pocketrec_edge.releases.verify import _requests


def test_hard_inputs_keep_shapes_and_types_and_name_what_they_are(release):
    device = Recommender(release)
    ordinary = next(_requests(device, release, Golden.of(release).cases))
    for model in MODELS:
        for name, hard in hard_inputs(model, ordinary[model]).items():
            for key, value in ordinary[model].items():
                assert (hard[key].shape, hard[key].dtype) == (value.shape, value.dtype), name
    one = hard_inputs("ranker", ordinary["ranker"])["one candidate"]
    assert one["item_vectors"][0].any()
    assert not one["item_vectors"][1:].any()


def test_rank_measures_by_hand():
    one, two = np.array([3.0, 2.0, 1.0, 0.0]), np.array([3.0, 1.0, 2.0, 0.0])
    assert overlap(one, two, 2) == 0.5
    assert overlap(one, two, 99) == 1.0
    assert spearman(one, two) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert spearman(one, -one) == pytest.approx(-1.0)
    assert spearman(one, np.zeros(4)) == 1.0
    tied = spearman(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert tied == pytest.approx(1.5 / np.sqrt(1.5 * 2.0))  # ranks 1.5, 1.5, 3 and 1, 2, 3


def test_scores_far_below_the_largest_tie_and_small_ones_do_not():
    """ONNX Runtime's sigmoid is 0 where Keras has 1e-9."""
    keras = np.array([0.9, 2e-5, 1e-5, 3e-9, 2e-9, 1e-9])
    assert spearman(keras, np.array([0.9, 2e-5, 1e-5, 0.0, 0.0, 0.0])) == pytest.approx(1.0)
    assert spearman(keras, np.array([0.9, 1e-5, 2e-5, 0.0, 0.0, 0.0])) < 0.95


def test_likeness_by_hand():
    truth = [np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])]
    answers = [np.array([[3.0, 4.0]]), np.array([[1.0, 1.0]])]
    scores = [(np.arange(3.0), np.arange(3.0)), (np.arange(3.0), -np.arange(3.0))]
    found = compare_outputs("ranker", answers, truth, scores)
    assert (found.max_error, found.mean_error) == (1.0, 0.25)
    assert found.cosine == pytest.approx(np.sqrt(0.5))
    assert (found.overlap, found.rank_correlation) == (1.0, 0.0)
