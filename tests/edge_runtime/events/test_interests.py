"""Chosen interests: before the history, never as something that the user had, only on the phone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_bundle.candidates import extra_candidates
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_bundle.items.cohorts import Cohorts
from pocketrec_bundle.ranker_features import ItemColumns, Request, ranker_features
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.device import Device
from pocketrec_edge.device_status import Interests
from pocketrec_edge.events.interests import checked, offered, read, reason, with_interests
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend.explain import explain
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_export.conformance.tiny_bundle import SPEC, write_tiny_bundle

NOW = 1_700_000_000
COHORTS = Cohorts(np.array([2, 1], np.uint16), np.array([[4, 5, 6, 7], [5, 8, -1, -1]], np.int32))


def history(*rows: int) -> History:
    n = len(rows)
    return History(np.array(rows, np.int32), np.ones(n, np.int32), NOW - np.arange(n, 0, -1) * 60)


def test_the_best_of_each_category_come_first_the_most_popular_last():
    found = with_interests(SPEC, COHORTS, ["war", "drama"], history(9, 3), NOW)
    # war: 4 5 6; drama: 5 8; 5 stands for the category that named it first
    assert found.rows.tolist() == [6, 8, 5, 4, 9, 3]
    assert found.interests == (2, 1, 1, 2)
    assert found.events.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.ts.tolist() == [NOW - 120] * 5 + [NOW - 60]
    assert found.interactions().rows.tolist() == [9, 3]
    assert with_interests(SPEC, COHORTS, ["war"], history(), NOW, each=1).ts.tolist() == [NOW]


@given(st.integers(0, 9), st.lists(st.sampled_from(SPEC.categories), unique=True))
@settings(max_examples=60, deadline=None)
def test_real_events_wash_interests_out(n, chosen):
    past = history(*range(10, 10 + n))
    found = with_interests(SPEC, COHORTS, [*chosen, "of another release"], past, NOW)
    assert found.rows.tolist()[len(found) - n :] == past.rows.tolist()
    assert len(found.interests) == len(found) - n <= max(SPEC.max_history - n, 0)
    assert (np.diff(found.ts) >= 0).all()
    if n >= SPEC.max_history:
        assert found is past
    fewer = with_interests(SPEC, COHORTS, chosen, history(*range(10, 11 + n)), NOW)
    stood = found.rows.tolist()[: len(found.interests)]
    still = fewer.rows.tolist()[: len(fewer.interests)]
    assert still == stood[len(stood) - len(still) :]  # the least popular go first


@pytest.mark.parametrize(("cohorts", "chosen"), [(None, ["war"]), (COHORTS, []), (COHORTS, ["x"])])
def test_without_lists_or_choice_the_history_stays(cohorts, chosen):
    past = history(1)
    assert with_interests(SPEC, cohorts, chosen, past, NOW) is past


def test_offered_are_the_release_s_lists_and_others_are_refused_with_near_names():
    assert offered(SPEC, COHORTS) == ("war", "drama")
    assert offered(SPEC, None) == ()
    known = ("Drama", "Sci-Fi", "Comedy")
    assert checked(["Comedy", "Drama", "Comedy"], known) == ("Comedy", "Drama")
    with pytest.raises(InputError, match=r"'drame'.*try 'Drama'\.$"):
        checked(["Comedy", "drame"], known)
    with pytest.raises(InputError, match=r"try 'Drama', 'Sci-Fi', 'Comedy'\.$"):
        checked(["xyz"], known)
    with pytest.raises(InputError, match="nothing to choose"):
        checked(["Drama"], ())


def test_a_reason_names_a_chosen_category_that_the_item_has():
    assert reason(SPEC, (2, 3), 3, [1, 3]) == "because you chose comedy"
    assert reason(SPEC, (2, 3), 3, [2, 1]) == "because you chose war"
    assert reason(SPEC, (2, 3), 3, [1, 0]) == "near to comedy, which you chose"


@pytest.fixture
def tiny(tiny_release) -> Recommender:
    return Recommender(open_bundle(tiny_release), "onnx")


def test_items_that_stand_for_interests_are_read_but_were_never_had(tiny):
    bundle, past = tiny.bundle, history(30)
    asked = with_interests(SPEC, bundle.cohorts, ["drama"], past, NOW)
    stand = asked.rows[: len(asked.interests)]
    assert len(stand) == 3
    assert not tiny.excluded(Query(asked, NOW, exclude_seen=True))[stand].any()
    assert (tiny.user_vector(Query(asked, NOW)) != tiny.user_vector(Query(past, NOW))).any()
    none = np.zeros(bundle.item_count, np.bool_)
    own = extra_candidates(SPEC, None, asked, NOW, none)
    assert own.tolist() == [30]
    request = Request(
        asked, NOW, np.ones((1, SPEC.dim), np.float32), tiny.index.vectors(asked.rows)
    )
    columns = ItemColumns(bundle.categories, bundle.numeric, tiny.items.neighbours)
    rows = np.append(stand, 30).astype(np.int32)
    pair = ranker_features(SPEC, columns, request, rows, tiny.index.vectors(rows))["pair"]
    had = {name: pair[:, at].tolist() for at, name in enumerate(SPEC.pair)}
    assert had["times_had"] == [0, 0, 0, 1]
    assert had["seconds_since_had"] == [-1, -1, -1, 60]
    assert had["recent_had"][:3] == [0, 0, 0]
    assert had["recent_had"][3] == pytest.approx(1, abs=1e-4)
    assert min(had["max_cosine"][:3]) == pytest.approx(1)


def test_reasons_name_the_interest_and_explanations_only_real_events(tiny):
    cohorts = tiny.bundle.cohorts
    slate = tiny.recommend(Query(with_interests(SPEC, cohorts, ["war"], history(), NOW), NOW))
    for item in slate.items:
        has = 2 in tiny.bundle.categories[item.row]
        assert item.reason == ("because you chose war" if has else "near to war, which you chose")
    asked = with_interests(SPEC, cohorts, ["war"], history(7, 30), NOW)
    _, items = explain(tiny, asked, NOW)
    title = {tiny.bundle.item_id(row) for row in (7, 30)}
    for item in items:
        assert [each.item_id for each in item.contributions] == [
            tiny.bundle.item_id(row) for row in (7, 30)
        ]
        assert item.nearest is not None
        assert item.nearest.item_id in title
    assert {item.contributions[0].retrieval for item in items} != {0.0}


@pytest.fixture
def phone(tmp_path, tiny_release):
    home = tmp_path / "phone"
    Device(home, engine="onnx").install(tiny_release)
    phone = Device(home, engine="onnx", clock=lambda: NOW)
    yield phone
    phone.close()


def drawn(phone):
    """A slate; what its release explores is drawn the same each time."""
    phone._slates.rng = np.random.default_rng(1)
    return phone.recommend(log_impressions=False)


def test_a_choice_changes_the_slate_and_is_kept(phone):
    before = drawn(phone)
    assert phone.interests().chosen == ()
    phone.set_interests(["comedy", "war"])
    after = drawn(phone)
    assert (before.history, after.history, after.faults) == (0, 0, ())
    assert all("you chose" in item.reason for item in after.items)
    again = Device(phone.home, engine="onnx", clock=lambda: NOW)
    assert again.interests().chosen == ("comedy", "war")
    assert drawn(again).items == after.items
    again.close()
    phone._slates.rng = np.random.default_rng(1)
    assert phone.explain().slate == tuple(item.item_id for item in after.items)
    phone.set_interests([])
    assert phone.recommend(log_impressions=False).items == before.items


def test_an_unknown_name_changes_nothing(phone):
    phone.set_interests(["war"])
    with pytest.raises(InputError, match=r"'comedies'.*'comedy'"):
        phone.set_interests(["war", "comedies"])
    assert phone.interests().chosen == ("war",)
    assert read(PhoneHome(phone.home)) == ("war",)


def test_interests_of_another_release_are_passed_over(phone, tmp_path):
    phone.set_interests(["war"])
    write_tiny_bundle(tmp_path / "old", version=1, answers=True)
    old = Device(phone.home, engine="onnx", bundle=tmp_path / "old", clock=lambda: NOW)
    assert old.interests() == Interests(chosen=("war",), offered=(), faults=())
    assert old.recommend(log_impressions=False).source == "model"
    old.close()


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}', b"[1]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_a_fault_until_one_chooses_anew(phone, data):
    (phone.home / "interests.json").write_bytes(data)
    again = Device(phone.home, engine="onnx", clock=lambda: NOW)
    answer = again.recommend(log_impressions=False)
    assert len(answer.items) == 5
    assert "choose them again" in answer.faults[0].text
    again.set_interests(["war"])
    assert again.recommend(log_impressions=False).faults == ()
    again.close()


def test_a_copy_has_them_and_erasure_takes_them(phone, tmp_path, bytes_of):
    phone.set_interests(["comedy"])
    phone.export_data(tmp_path / "copy.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "copy.jsonl").read_text().splitlines()]
    assert lines[1] == {"type": "interests", "categories": ["comedy"]}
    assert b"comedy" in bytes_of(phone.home)
    phone.erase()
    assert b"comedy" not in bytes_of(phone.home)
    assert phone.interests().chosen == ()


def test_the_command(phone, runner):
    def ask(*words):
        return runner.invoke(main, ["device", "interests", "--home", str(phone.home), *words])

    assert ask("war", "drama").output.splitlines()[0] == "chosen: war, drama"
    assert json.loads(ask("--json").output)["chosen"] == ["war", "drama"]
    done = ask("dramas")
    assert (done.exit_code, "'drama'" in done.output) == (2, True)
    done = ask("--clear", "war")
    assert (done.exit_code, "leave the names out" in done.output) == (2, True)
    assert ask("--clear").output.splitlines()[0] == "chosen: nothing"


def test_the_same_history_at_two_hours_gives_the_ranker_different_contexts(tiny):
    past, rows = history(7, 30), np.array([1, 2], np.int32)
    vectors, user = tiny.index.vectors(rows), np.ones(SPEC.dim, np.float32)
    monday_0813 = 1_699_863_180  # 2023-11-13, a Monday, 08:13 UTC
    asked = [
        dict(
            zip(
                SPEC.context,
                tiny.ranker_inputs(Query(past, now), user, rows, vectors)["context"][0].tolist(),
                strict=True,
            )
        )
        for now in (monday_0813, monday_0813 + 37 * 3600)
    ]
    assert [(each["hour"], each["weekday"]) for each in asked] == [(8, 0), (21, 1)]
