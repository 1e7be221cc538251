import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the train extra")

from pocketrec_training.data.dataset import TEST, TRAIN, VALID
from pocketrec_training.errors import FeatureLeakError
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.leakage import altered_future, check_no_leak, find_leaks


@pytest.mark.parametrize("fold", [TRAIN, VALID, TEST])
def test_the_ranker_features_do_not_know_the_future(fold, world, make_candidates):
    _, _, data = world
    cases = make_candidates(data).latest_cases(fold, 10**6)[::7][:12]
    check_no_leak(make_candidates, data, cases, seed=1)


def test_the_altered_future_is_another_one_and_the_past_is_not(world):
    _, _, data = world
    user, end = data.held_out(VALID)[5]
    at, stop = data.offsets[user] + end, data.offsets[user + 1]
    found = altered_future(data, (user, end), np.random.default_rng(0))
    assert (found.rows[data.offsets[user] : at] == data.rows[data.offsets[user] : at]).all()
    assert (found.ts[data.offsets[user] : at + 1] == data.ts[data.offsets[user] : at + 1]).all()
    assert (found.rows[at:stop] != data.rows[at:stop]).any()
    assert (found.ts[at + 1 : stop] > data.ts[at + 1 : stop]).all()


class WholeHistory(CandidateGenerator):
    """Counts the user's events up to the end of the log, not up to the case."""

    def inputs_for(self, case, vector, rows):
        found = super().inputs_for(case, vector, rows)
        at = self.spec.pair.index("times_had")
        log = self.data.history(case[0]).rows
        found["pair"][:, at] = np.bincount(log, minlength=len(self.data.items))[rows]
        return found


class CountsTheAnswer(CandidateGenerator):
    """Takes popularity over all folds, held-out events too."""

    def inputs_for(self, case, vector, rows):
        found = super().inputs_for(case, vector, rows)
        counts = np.bincount(self.data.rows, minlength=len(self.data.items))
        found["item_numeric"][:, 0] = counts[rows]
        return found


@pytest.mark.parametrize(
    ("leaky", "name"), [(WholeHistory, "pair.times_had"), (CountsTheAnswer, "numeric.popularity")]
)
def test_a_planted_leak_is_found_and_named(leaky, name, world, make_candidates):
    _, spec, data = world
    plain = make_candidates(data)

    def build(changed):
        return leaky(spec, changed, plain.user_tower, plain.table)

    cases = data.held_out(VALID)[:4]
    assert find_leaks(build, data, cases, seed=1) == {name: cases[0]}
    with pytest.raises(FeatureLeakError, match=rf"{name} \(user 'u00', event 13 of 14\)"):
        check_no_leak(build, data, cases, seed=1)


def test_training_popularity_with_the_own_later_events_would_be_a_leak(
    world, make_candidates, monkeypatch
):
    from contextlib import nullcontext

    _, _, data = world
    monkeypatch.setattr(CandidateGenerator, "_popularity_without", lambda *_: nullcontext())
    cases = make_candidates(data).latest_cases(TRAIN, 10**6)[-3:]
    found = find_leaks(make_candidates, data, cases, seed=1)
    assert "numeric.popularity" in found
