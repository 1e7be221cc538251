"""Without a user tower: lists of the user's categories in turns, then popular items."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.features import History
from pocketrec_bundle.items.cohorts import Cohorts
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError
from pocketrec_edge.recommend.fallback import COMMONEST, fallback_rows, wanted_categories
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle

NOW = 1_700_000_000
COHORTS = Cohorts(
    np.array([1, 2, 3], np.uint16), np.array([[4, 5, 6], [7, 4, -1], [8, -1, -1]], np.int32)
)
POPULAR = np.array([9, 4, 0], np.int32)
NOBODY = np.zeros(10, np.bool_)


def history(*rows: int, interests: tuple[int, ...] = ()) -> History:
    n = len(rows)
    past = np.array(rows, np.int32), np.zeros(n, np.int32), NOW - np.arange(n, 0, -1)
    return History(*past, interests)


def test_lists_take_turns_and_popular_items_come_last():
    found = fallback_rows(COHORTS, [2, 1], POPULAR, NOBODY)
    assert list(found) == [7, 4, 5, 6, 9, 0]
    assert list(found.values()) == [
        2,
        1,
        1,
        1,
        0,
        0,
    ]  # 4 stands in both, and was its own list's turn first


def test_what_must_not_be_shown_is_left_out_of_every_list():
    excluded = NOBODY.copy()
    excluded[[4, 7, 9]] = True
    found = fallback_rows(COHORTS, [2, 1], POPULAR, excluded)
    assert list(found.items()) == [(5, 1), (6, 1), (0, 0)]


@pytest.mark.parametrize(("cohorts", "codes"), [(None, [1, 2]), (COHORTS, []), (COHORTS, [4])])
def test_without_lists_the_popular_items_are_shown(cohorts, codes):
    found = fallback_rows(cohorts, codes, POPULAR, NOBODY)
    assert list(found.items()) == [(9, 0), (4, 0), (0, 0)]


@given(st.lists(st.integers(0, 4), unique=True), st.sets(st.integers(0, 9)))
@settings(max_examples=50, deadline=None)
def test_each_row_comes_once_and_from_a_list_that_has_it(codes, hidden):
    excluded = NOBODY.copy()
    excluded[list(hidden)] = True
    found = fallback_rows(COHORTS, codes, POPULAR, excluded)
    wanted = {r for c in codes for r in COHORTS.items(c).tolist()} | set(POPULAR.tolist())
    assert found.keys() == wanted - hidden
    for row, code in found.items():
        assert row in (COHORTS.items(code) if code else POPULAR)


def test_chosen_interests_go_before_the_history_s_categories():
    categories = np.array([[1, 2], [2, 0], [2, 3], [4, 3], [0, 0], [5, 0]], np.uint16)
    assert wanted_categories(categories, history(0, 1, 2, 3, 4, 5)) == [2, 3, 1][:COMMONEST]
    assert wanted_categories(categories, history(4)) == []
    assert wanted_categories(categories, history(5, 5, 0, interests=(4, 1))) == [1, 4]


class Broken:
    def run(self, inputs):
        raise EngineError("broken on purpose")


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_models_that_no_engine_loads_leave_the_lists(tmp_path, engine):
    write_tiny_bundle(tmp_path / "bundle")  # without models
    phone = Device(tmp_path / "phone", engine=engine, bundle=tmp_path / "bundle")
    phone.set_interests(["comedy"])
    answer = phone.recommend()
    phone.close()
    assert answer.source == "fallback"
    assert phone.bundle is not None and phone.bundle.cohorts is not None
    assert [i.row for i in answer.items] == phone.bundle.cohorts.items(3)[:5].tolist()
    assert {item.reason for item in answer.items} == {"popular in comedy"}


@pytest.fixture
def phone(tmp_path, tiny_release):
    """A phone whose user tower is broken."""
    phone = Device(tmp_path / "phone", engine="onnx", bundle=tiny_release, clock=lambda: NOW)
    assert phone._recommender is not None
    phone._recommender._tower = Broken()
    yield phone
    phone.close()


def test_the_ladder_on_a_phone_from_popular_items_to_interests(phone):
    bundle = phone.bundle
    cohorts, popular = bundle.cohorts, np.asarray(bundle.array("items/popular")).tolist()
    answer = phone.recommend()
    assert (answer.source, "broken on purpose" in answer.faults[0].text) == ("fallback", True)
    assert [item.row for item in answer.items] == popular[:5]
    assert {item.reason for item in answer.items} == {"popular now"}

    drama = cohorts.items(1).tolist()
    had = next(row for row in drama if bundle.categories[row].tolist() == [1, 0])
    phone.feedback(bundle.item_id(had), "like")
    answer = phone.recommend(exclude_seen=True)
    left = [row for row in drama if row != had]
    assert [item.row for item in answer.items] == left[:5]
    assert {item.reason for item in answer.items} == {"popular in drama"}
    assert answer.source == "fallback"

    phone.set_interests(["war", "comedy"])
    answer = phone.recommend(exclude_seen=True)
    wanted = [cohorts.items(2)[0], cohorts.items(3)[0]]
    assert [item.row for item in answer.items[:2]] == wanted
    assert [i.reason for i in answer.items[:2]] == ["popular in war", "popular in comedy"]


def test_withdrawn_items_never_come_and_seen_ones_only_if_nothing_else_is_left(tiny_release):
    bundle = open_bundle(tiny_release)
    device = Recommender(bundle, "onnx")
    device._tower = Broken()
    everything = history(*range(bundle.item_count))
    slate = device.recommend(Query(everything, NOW, 48, exclude_seen=True))
    shown = {item.row for item in slate.items}
    assert shown
    assert not shown & set(np.flatnonzero(~bundle.available).tolist())
    page = np.array(sorted(shown), np.int32)
    assert not device.recommend(Query(everything, NOW, 48, exclude_seen=True, shown=page)).items
