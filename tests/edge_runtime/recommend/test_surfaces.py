import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.neighbours import Neighbours
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.surfaces import AFTER, SEARCH, SIMILAR, Surface, following

NOW = 1_700_000_000


def history(*rows: int) -> History:
    n = len(rows)
    return History(np.array(rows, np.int32), np.ones(n, np.int32), NOW - np.arange(n, 0, -1))


def at(kind: str, *rows: int) -> Surface:
    return Surface(kind=kind, rows=np.array(rows, np.int32))


class Broken:
    def run(self, inputs):
        raise EngineError("broken on purpose")


def test_similar_items_are_those_of_the_largest_cosine(release):
    device = Recommender(release)
    device.policy = dataclasses.replace(device.policy, probes=0)  # all cells: exact
    row = 17
    slate = device.recommend(Query(history(3), NOW, surface=at(SIMILAR, row)))
    vectors = device.index.vectors(np.arange(300, dtype=np.int32))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units[row]
    shown = [item.row for item in slate.items]
    assert row not in shown
    assert slate.source == "model"
    assert {item.reason for item in slate.items} == {f"like Title {release.item_id(row)}"}
    # 13 of the 50 candidates stay: by inner product the nearest 50, of these the most alike.
    free = np.flatnonzero(~device.excluded(Query(history(3), NOW, surface=at(SIMILAR, row))))
    nearest = free[np.lexsort((free, -(vectors[free] @ vectors[row])))][:50]
    alike = nearest[np.argsort(-cosines[nearest], kind="stable")][:13]
    assert set(shown) <= set(alike.tolist())
    assert set(slate.candidates.tolist()) == set(alike.tolist())


def test_a_list_of_similar_items_is_the_users_own(release):
    device = Recommender(release)
    one, two = (
        device.recommend(Query(history(*rows), NOW, surface=at(SIMILAR, 17))) for rows in ((3,), ())
    )
    assert set(one.candidates.tolist()) == set(two.candidates.tolist())
    assert [i.score for i in one.items] != [i.score for i in two.items]


def test_what_goes_with_an_item_comes_first_and_the_item_never(tiny_release):
    bundle = open_bundle(tiny_release)
    device = Recommender(bundle, "onnx")
    row = 5
    assert device.items.neighbours is not None
    neighbours = following(device.items.neighbours, row, 8, device.withdrawn)
    assert len(neighbours)
    slate = device.recommend(Query(history(row), NOW, 48, surface=at(AFTER, row)))
    assert set(neighbours.tolist()) <= set(slate.candidates.tolist())
    assert row not in slate.candidates  # although the policy lets it repeat
    assert row in device.recommend(Query(history(row), NOW, 48)).candidates
    assert all(item.reason.startswith("goes with ") for item in slate.items)


def test_following_takes_positive_weights_that_are_free_in_their_order():
    neighbours = Neighbours(
        rows=np.array([[3, 1, 2, 0]] * 4, np.int32),
        weights=np.array([[5, 9, -1, 9]] * 4, np.int8),
        scales=np.ones(4, np.float32),
    )
    free = np.zeros(4, np.bool_)
    assert following(neighbours, 3, 9, free).tolist() == [1, 0, 3]
    free[0] = True
    assert following(neighbours, 3, 1, free).tolist() == [1]
    assert following(neighbours, 3, 9, free).tolist() == [1, 3]


@given(st.lists(st.integers(0, 299), unique=True, max_size=40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_search_results_all_come_back_in_the_rankers_order(small_release, rows, seed):
    device = Recommender(open_bundle(small_release))
    past = history(*np.random.default_rng(seed).integers(0, 300, 5).tolist())
    slate = device.recommend(Query(past, NOW, 3, surface=at(SEARCH, *rows)))
    shown = [item.row for item in slate.items]
    assert sorted(shown) == sorted(row for row in rows if row % 10)  # each tenth is withdrawn
    scores = [item.score for item in slate.items]
    assert scores == sorted(scores, reverse=True)


def test_search_keeps_the_apps_order_without_a_model(release):
    device = Recommender(release, models=(Broken(), Broken()))
    slate = device.recommend(Query(history(3), NOW, 2, surface=at(SEARCH, 9, 3, 21)))
    assert [item.row for item in slate.items] == [9, 3, 21]
    assert slate.source == "fallback"


def test_beside_an_item_a_broken_tower_leaves_what_is_like_it(release):
    device = Recommender(release, models=(Broken(), Broken()))
    slate = device.recommend(Query(history(3), NOW, surface=at(SIMILAR, 17)))
    alike = (
        Recommender(release).recommend(Query(history(3), NOW, surface=at(SIMILAR, 17))).candidates
    )
    assert {item.row for item in slate.items} <= set(alike.tolist())
    assert len(slate.items) == 10


def test_scenes_of_a_phone(small_release, tmp_path):
    phone = Device(tmp_path, bundle=small_release)
    ids = [item.item_id for item in phone.recommend(20).items]
    found = phone.recommend(scene="search", results=[*ids[:5], "no such", ids[0]])
    assert {item.item_id for item in found.items} == set(ids[:5])
    assert found.unranked == ("no such",)
    similar = phone.recommend(scene="similar", item_id=ids[0])
    assert ids[0] not in {item.item_id for item in similar.items}
    lost = phone.recommend(scene="similar", item_id="no such")
    assert len(lost.items) == 10
    assert [*map(str, lost.faults)] == [
        "item 'no such' is not in the release: these are for the home screen"
    ]
    with pytest.raises(InputError, match="needs item_id"):
        phone.recommend(scene="after")
    with pytest.raises(InputError, match="there is home, similar, after, search"):
        phone.recommend(scene="cellar")


def test_a_deadline_that_ranking_would_miss_leaves_retrievals_order(release):
    device = Recommender(release)
    first = device.recommend(Query(history(3), NOW, deadline_ms=1e9))
    assert (first.source, first.faults) == ("model", ())
    device._rank_ms.append(500.0)
    late = device.recommend(Query(history(3), NOW, deadline_ms=400.0))
    assert late.source == "retrieval"
    assert [fault.code for fault in late.faults] == ["deadline"]
    assert late.faults[0].text.startswith("deadline: ranking takes up to 500.0 ms")
    scores = [item.retrieval_score for item in late.items[:4]]
    assert scores == sorted(scores, reverse=True)
    assert device.recommend(Query(history(3), NOW)).source == "model"
    for _ in range(8):  # a hiccup is forgotten
        device.recommend(Query(history(3), NOW))
    assert device.recommend(Query(history(3), NOW, deadline_ms=400.0)).source == "model"


def test_threads_of_the_models_do_not_change_the_answer(release):
    one, two = (Recommender(release, threads=n).recommend(Query(history(3), NOW)) for n in (1, 2))
    assert [i.row for i in one.items] == [i.row for i in two.items]
