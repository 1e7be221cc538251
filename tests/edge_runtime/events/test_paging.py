import json
from itertools import pairwise

import numpy as np
import pytest

from pocketrec.cli import main
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.settings.rules import Exploration, Rules
from pocketrec_edge.answers import SlateItem
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EngineError, EventLogError
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.paging import LIFE_S, MAX_FILE_BYTES, MAX_SESSIONS, Sessions

NOW = 1_700_000_000


@pytest.fixture
def phone(small_release, tmp_path):
    return Device(tmp_path, bundle=small_release, clock=lambda: NOW)


def ids(answer):
    return [item.item_id for item in answer.items]


def test_pages_never_repeat_while_history_and_release_change(
    small_release, quantized_release, tmp_path
):
    phone = Device(tmp_path, bundle=small_release)
    first = phone.recommend(page=1)
    token, seen = first.session, [ids(first)]
    for page in range(2, 12):
        for item_id in seen[-1][:3]:
            phone.feedback(item_id, "like")
        phone.close()
        release = quantized_release if page % 2 else small_release
        phone = Device(tmp_path, bundle=release)
        answer = phone.recommend(page=page, session=token)
        assert (answer.page, answer.session, answer.faults) == (page, token, ())
        seen.append(ids(answer))
    assert all(len(page) == 10 for page in seen)
    shown = [item_id for page in seen for item_id in page]
    assert len(set(shown)) == len(shown)
    for page, was in enumerate(seen, 1):
        again = phone.recommend(page=page, session=token)
        bundle = phone.bundle  # what this release has withdrawn is left out
        assert bundle is not None
        still = [i for i in was if bundle.available[bundle.row_of(i)]]
        assert (ids(again), again.source) == (still, "page")


def test_a_list_goes_on_to_its_end_and_then_is_empty(phone):
    answer = phone.recommend(100, page=1)
    shown = ids(answer)
    while answer.items:
        answer = phone.recommend(100, page=answer.page + 1, session=answer.session)
        shown += ids(answer)
    bundle = phone.bundle
    assert len(shown) == len(set(shown)) == int(bundle.available.sum())  # all but withdrawn ones
    after = phone.recommend(100, page=answer.page + 5, session=answer.session)
    assert (after.items, after.page) == ((), answer.page)


def test_the_list_of_popular_items_does_not_repeat_either(phone, monkeypatch):
    def broken(*_args):
        raise EngineError("broken on purpose")

    monkeypatch.setattr(phone._recommender, "user_vector", broken)
    for item_id in [f"item-{row}" for row in range(300)]:
        phone.feedback(item_id, "like")  # all seen: popular ones come again, shown ones do not
    one = phone.recommend(page=1)
    two = phone.recommend(page=2, session=one.session)
    three = phone.recommend(page=3, session=one.session)
    assert one.source == two.source == "fallback"
    assert len(one.items) == 10 and len(two.items) == 8 and three.items == ()
    assert not {*ids(one)} & {*ids(two)}


def test_an_item_that_was_withdrawn_since_is_left_out_of_the_page(phone):
    one = phone.recommend(page=1)
    gone = phone.bundle.row_of(ids(one)[0])
    phone.bundle.available[gone] = False
    assert ids(phone.recommend(page=1, session=one.session)) == ids(one)[1:]


def test_a_session_ends_after_a_pause_and_an_unknown_one_begins_anew(small_release, tmp_path):
    now = [NOW]
    phone = Device(tmp_path, bundle=small_release, clock=lambda: now[0])
    one = phone.recommend(page=1)
    now[0] += LIFE_S
    assert phone.recommend(page=2, session=one.session).session == one.session
    now[0] -= 7 * LIFE_S  # a clock set back ends nothing
    assert phone.recommend(page=3, session=one.session).page == 3
    now[0] += 8 * LIFE_S + 1
    for token in (one.session, "no such token", None):
        answer = phone.recommend(page=2, session=token)
        assert answer.page == 1 and answer.session != token


def test_a_slate_without_a_page_is_remembered_by_none(phone, tmp_path):
    assert phone.recommend().session is None
    assert not (tmp_path / "sessions.json").exists()


def shown(item_id: str) -> SlateItem:
    return SlateItem(
        row=-1, item_id=item_id, title="", score=0.0, retrieval_score=0.0, reason="popular now"
    )


def test_the_file_holds_few_sessions_and_the_longest_unused_goes(tmp_path):
    sessions = Sessions(tmp_path / "s.json")
    tokens = []
    for at in range(MAX_SESSIONS + 2):
        session = sessions.open(None, NOW + at)
        session.add((shown(f"i{at}"),), f"request-{at}", {"blend": "a"})
        assert sessions.keep(session, NOW + at) is None
        tokens.append(session.token)
    again = Sessions(tmp_path / "s.json")
    late = NOW + MAX_SESSIONS + 2
    kept = [again.open(token, late).token == token for token in tokens]
    assert kept == [False, False, *[True] * MAX_SESSIONS]
    again.keep(again.open(tokens[-1], late + LIFE_S + 1), late + LIFE_S + 1)
    assert len(json.loads((tmp_path / "s.json").read_bytes())) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"{}x", b'{"a": 1}', b"[1]", b"[[]]", b"\xff", b"[" * 100_000),
        b'[{"token": 1, "used_utc": 1, "pages": []}]',
        b'[{"token": "a", "used_utc": 1.5, "pages": []}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[{"item_id": 3}]]}]',
        b'[{"token": "a", "used_utc": 1, "pages": [7]}]',
        b'[{"token": "a", "used_utc": 1, "pages": [], "requests": ["r"]}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[]], "requests": [7]}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[]], "requests": null}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[]], "arms": []}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[]], "arms": [7]}]',
        b'[{"token": "a", "used_utc": 1, "pages": [[]], "arms": [{"blend": 7}]}]',
        b" " * (MAX_FILE_BYTES + 1),
    ],
)
def test_a_damaged_file_is_a_fault_and_the_slate_still_comes(small_release, tmp_path, content):
    (tmp_path / "sessions.json").write_bytes(content)
    phone = Device(tmp_path, bundle=small_release)
    one = phone.recommend(page=1)
    assert len(one.items) == 10
    assert "no sessions can be read" in one.faults[0].text
    two = phone.recommend(page=2, session=one.session)
    assert two.faults == () and not {*ids(one)} & {*ids(two)}


def test_a_home_that_cannot_be_written_still_pages_in_memory(phone, tmp_path):
    (tmp_path / ".sessions.json.partial").mkdir()  # where the new file would be written
    one = phone.recommend(page=1)
    assert "cannot be written" in one.faults[0].text
    assert not {*ids(one)} & {*ids(phone.recommend(page=2, session=one.session))}


def test_a_page_shown_again_names_its_request_only_if_the_log_has_it(
    small_release, tmp_path, monkeypatch
):
    """Feedback on a request that nobody logged would be attributed to nothing."""
    with Device(tmp_path, bundle=small_release) as phone:
        one = phone.recommend(page=1)
        again = phone.recommend(page=1, session=one.session)
        assert again.request == one.request is not None

        def refuse(*_args, **_more):
            raise EventLogError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(EventLog, "append_many", refuse)
            two = phone.recommend(page=2, session=one.session)
        assert two.request is None and len(two.items) == 10
        again = phone.recommend(page=2, session=one.session)
        assert (again.request, ids(again)) == (None, ids(two))


def test_impressions_carry_page_and_propensity(small_release, tmp_path):
    release = open_bundle(small_release)
    phone = Device(tmp_path, bundle=small_release, rng=np.random.default_rng(1))
    rules = Rules(rules=(Exploration(epsilon=0.5, pool=20, first=3),), depth=50)
    assert phone.bundle is not None
    phone.bundle.rules = rules
    phone.set_consent(True, "terms")  # the log hands out nothing else
    answer = phone.recommend(page=1)
    assert phone._log is not None
    request, *shown_items = phone._log.pending(99)
    logged = {e.item_id: e.context for e in shown_items}
    odds = [logged[item_id]["propensity"] for item_id in ids(answer)]
    assert odds[:2] == [1.0, 1.0] and set(odds[2:]) == {0.5, 0.5 / 20}
    assert odds == [item.propensity for item in answer.items]
    assert (request.id, request.context["page"]) == (answer.request, 1)
    assert request.context["paging"] == answer.session
    places = [logged[item_id]["place"] for item_id in ids(answer)]
    assert all(two == one + 1 for one, two in pairwise(places))
    again = phone.recommend(page=1, session=answer.session)
    assert (again.source, again.request) == ("page", answer.request)
    assert len(phone._log.pending(99)) == 1 + len(answer.items)  # seen again, logged once
    assert release.rules is None


def test_the_command_line_turns_pages(small_release, tmp_path, runner):
    words = ["device", "recommend", "--home", str(tmp_path), "--bundle", str(small_release)]
    one = json.loads(runner.invoke(main, [*words, "--page", "1", "--json"]).output)
    more = [*words, "--page", "2", "--session", one["session"]]
    two = json.loads(runner.invoke(main, [*more, "--json"]).output)
    shown_ids = [{item["item_id"] for item in page["items"]} for page in (one, two)]
    assert two["page"] == 2 and not shown_ids[0] & shown_ids[1] and all(shown_ids)
    assert f"page 2 of session {one['session']}" in runner.invoke(main, more).stderr
