"""The lists that the ranker learns from are those that a phone makes, also with repeats."""

import numpy as np
import pytest

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.reasons import AGAIN_REASON
from pocketrec_edge.releases.selftest import replay


@pytest.fixture(scope="module")
def exported(repeats_run_dir):
    """(bundle, run, data set) of the run with repeats; its index scans all cells."""
    from pocketrec_export.build import export_bundle
    from pocketrec_training.data.dataset import load_dataset
    from pocketrec_training.trained import load_trained

    out = repeats_run_dir.parent / "bundle"
    # Its untrained ranker gives some items 1e-7, which the engines need not put in one order.
    export_bundle(run=repeats_run_dir, out=out, force=True)
    trained = load_trained(repeats_run_dir)
    return open_bundle(out), trained, load_dataset(trained.recipe, repeats_run_dir)


@pytest.mark.parametrize("repeats", [False, True])
def test_training_and_device_rank_the_same_lists(exported, repeats):

    bundle, trained, data = exported
    device, candidates = Recommender(bundle, "litert"), trained.candidates(data)
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    end = 6
    for user in np.flatnonzero(np.diff(data.offsets) > end):
        past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
        history = History(rows[past.rows], past.events, past.ts)
        slate = device.recommend(Query(history, now, exclude_seen=not repeats))
        assert slate.source == "model"
        wanted = candidates.list_for((user, end), slate.user_vector, repeats=repeats)
        # Rounding to int8 may swap neighbours in the order, and the last place.
        same = len({*rows[wanted].tolist()} & {*slate.candidates.tolist()})
        assert same >= len(wanted) - 1
        own = set(history.rows.tolist()) & set(slate.candidates.tolist())
        assert len(own) >= 5 if repeats else not own


def test_policy_decides_whether_items_come_again(exported):
    bundle, _, data = exported
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    past = data.history(3)
    history = History(rows[past.rows], past.events, past.ts)
    slate = Recommender(bundle).recommend(Query(history, int(past.ts[-1]) + 60, 16))
    again = [item for item in slate.items if item.row in history.rows]
    assert again
    for item in slate.items:
        assert (item.reason == AGAIN_REASON) == (item in again)


def test_golden_slates_with_repeats_replay_on_both_engines(exported):
    for engine in ("litert", "onnx"):
        assert replay(exported[0], engine) == 6


def test_columns_of_recent_popularity_travel(exported):
    bundle, _, data = exported
    assert bundle.spec.numeric[-1] == "popularity_30_days"
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    found = bundle.numeric[rows][:, -1]
    assert found == pytest.approx(data.popularity(30.0))
    assert (found < bundle.numeric[rows][:, 0]).any()
