import itertools

import numpy as np
import pytest

from pocketrec_training.metrics import segments
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets

# Three users: no history, 10 events, 300 events; targets 0 and 1, then 2, then 0 and 2.
CASES = Cases(
    setting="all",
    users=np.arange(3),
    ends=np.array([0, 10, 300]),
    offsets=np.array([0, 2, 3, 5]),
    targets=np.array([0, 1, 2, 0, 2], np.int32),
)


def ranked(*ranks):
    return RankedTargets(ranks=np.array(ranks), top=np.zeros((3, 1), np.int32))


PLACED = {"model": ranked(0, 25, 0, 30, 3), "rival": ranked(0, 1, 50, 50, 50)}


def test_each_user_counts_in_one_segment():
    found = segments.by_history(CASES, PLACED, "model", "rival")
    assert [s["users"] for s in found.values()] == [1, 1, 1]
    assert list(found) == ["no history", "10 to 19 events", "200 events or more"]
    assert [s["recall@20"] for s in found.values()] == [0.5, 1, 0.5]
    assert [s["best_baseline_recall@20"] for s in found.values()] == [1, 0, 0]
    assert found["10 to 19 events"]["ndcg@10"] == pytest.approx(1)


def test_recall_by_kind_of_target_counts_that_kind_only():
    popularity = np.array([100.0, 3, 0])
    found = segments.by_target(CASES, PLACED, popularity, "model", "rival")
    new, rare, usual = found.values()
    assert (new["cases"], new["targets"], new["recall@20"]) == (2, 2, 1)
    assert (rare["cases"], rare["targets"], rare["recall@20"]) == (1, 1, 0)
    assert rare["best_baseline_recall@20"] == 1
    assert list(found) == ["new items", "1 to 4 events", "100 to 499 events"]
    assert (rare["low"], rare["high"]) == (-1, -1)  # of 0 - 1 in its only case
    assert (usual["cases"], usual["recall@20"]) == (2, 0.5)


def test_hits_are_counted_in_all_groups_of_training_events():
    seen = np.array([100.0, 3, 0])
    found = segments.hits_by_events(CASES, PLACED, seen, "model", "rival")
    assert list(found) == ["0", "1-4", "5-19", "20+"]
    counts = {
        name: (s["cases"], s["targets"], s["hits@20"], s["best_baseline_hits@20"])
        for name, s in found.items()
    }
    assert counts == {
        "0": (2, 2, 2, 0),
        "1-4": (1, 1, 0, 1),
        "5-19": (0, 0, 0, 0),
        "20+": (2, 2, 1, 1),
    }
    assert (found["5-19"]["low"], found["5-19"]["high"]) == (0, 0)
    assert found["20+"]["low"] == found["20+"]["high"] == 0  # one hit each, in the same case
    assert found["0"]["low"] >= 0 and 2 <= found["0"]["high"] <= 3


def test_every_target_is_in_one_group():
    bounds = list(segments.FEW_EVENTS.values())
    assert bounds[0][0] == 0 and bounds[-1][1] is None
    assert all(one[1] == two[0] for one, two in itertools.pairwise(bounds))
