import numpy as np
import pytest

from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation.baseline_gain import (
    BaselineGain,
    baseline_gain,
    read_gain,
    write_gain,
)
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets


def cases(n):
    return Cases(
        setting="new_to_user",
        users=np.arange(n),
        ends=np.full(n, 3),
        offsets=np.arange(n + 1),
        targets=np.zeros(n, np.int32),
    )


def ranked(ranks):
    return RankedTargets(ranks=np.array(ranks, np.int64), top=np.zeros((len(ranks), 10), np.int32))


def test_the_best_baseline_on_the_very_cases_is_the_rival():
    n = 40
    answers = {
        "two_stage": ranked([1] * n),
        "two_tower": ranked([0] * n),
        "popularity": ranked([5] * n),
        "ease": ranked([0] * n),
    }
    found = baseline_gain(cases(n), answers, ("popularity", "ease"), "test", seed=3)
    assert (found.rival, found.rival_ndcg10, found.loses) == ("ease", 1.0, True)
    assert found.model_ndcg10 == pytest.approx(1 / np.log2(3))
    assert found.high < 0
    assert found.sentence().startswith("two_stage LOSES to the best simple baseline, ease: NDCG@10")


@pytest.mark.parametrize(
    ("difference", "low", "high", "words"),
    [
        (-0.1, -0.2, 0.1, "is below (not beyond chance)"),
        (0.1, -0.1, 0.2, "is above (not beyond chance)"),
        (0.1, 0.05, 0.2, "beats"),
    ],
)
def test_what_chance_may_have_done_is_said(difference, low, high, words):
    found = made(difference=difference, low=low, high=high)
    assert found.sentence().startswith(f"two_stage {words} the best simple baseline")


def made(**changes):
    return BaselineGain(
        **{
            "split": "test",
            "setting": "all",
            "cases": 9,
            "rival": "ease",
            "model_ndcg10": 0.2,
            "rival_ndcg10": 0.1,
            "difference": 0.1,
            "low": 0.0,
            "high": 0.2,
            **changes,
        }
    )


def test_a_run_keeps_its_last_result(tmp_path):
    assert read_gain(tmp_path) is None
    write_gain(tmp_path, made())
    assert read_gain(tmp_path) == made()
    (tmp_path / "baseline_gain.json").write_text("{")
    with pytest.raises(RunInvalidError, match="Evaluate the run again"):
        read_gain(tmp_path)
