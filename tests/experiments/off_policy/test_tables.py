"""Exported tables to requests: which can be evaluated, and what an impression earned."""

import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ibis", reason="needs the train extra")

import pyarrow as pa
import pyarrow.parquet as pq

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.off_policy.exported import Rewards
from pocketrec_experiments.off_policy.tables import read_requests

REQUEST: dict[str, Any] = {
    "user_id": "u1",
    "request_id": "r1",
    "ts": 1000,
    "release": "ab",
    "scene": "home",
    "source": "model",
    "page": None,
    "k": 2,
    "arms": [],
}


def shown(request, place, item, **changes):
    return {
        "user_id": "u1",
        "request_id": request,
        "place": place,
        "item_id": item,
        "ts": 1000,
        "propensity": 0.5,
        "sponsored": None,
    } | changes


def taken(item, ts, **changes):
    row = {"user_id": "u1", "item_id": item, "ts": ts, "event": "open", "value": None}
    return row | {"request_id": None} | changes


@pytest.fixture
def export(tmp_path, write_tables):
    """Return a function that writes tables as the server exports them, a file a day."""

    def write(requests, impressions, interactions):
        rows = {"requests": requests, "impressions": impressions, "interactions": interactions}
        for day in (0, 1):
            part = {kind: listed[day::2] for kind, listed in rows.items()}
            write_tables(tmp_path, part, f"2026-05-0{day + 1}")
        return tmp_path

    return write


def two_items(request, **changes):
    return [shown(request, 1, "a", **changes), shown(request, 2, "b", **changes)]


def test_rewards_by_request_and_by_time(export):
    folder = export(
        [REQUEST, REQUEST | {"request_id": "r2", "ts": 2000, "user_id": "u1"}],
        [*two_items("r1"), *two_items("r2", ts=2000)],
        [
            taken("a", 1500, request_id="r1"),
            taken("a", 2500, request_id="r1"),  # counts once, and for the named request
            taken("b", 1999),  # the latest impression before it is the first request's
            taken("b", 2001 + 10),
            taken("c", 2002),  # was not shown
        ],
    )
    found = read_requests(folder)
    assert found.request_ids.tolist() == ["r1", "r2"]
    assert found.reward.tolist() == [1.0, 1.0, 0.0, 1.0]
    assert found.item_ids.tolist() == ["a", "b", "a", "b"]
    assert found.place.tolist() == [1, 2, 1, 2] and found.request.tolist() == [0, 0, 1, 1]
    assert found.left_out == {} and found.user.tolist() == [0, 0]
    near = read_requests(folder, Rewards(window_s=600))
    assert near.reward.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert near.pasts[0].ts.tolist() == [1500, 1999, 2002, 2011, 2500]


def test_rewards_of_some_events_and_their_values(export):
    folder = export(
        [REQUEST],
        two_items("r1"),
        [
            taken("a", 1001, event="buy", value=3.0, request_id="r1"),
            taken("a", 1002, event="buy", value=4.5, request_id="r1"),
            taken("b", 1003),
        ],
    )
    assert read_requests(folder, Rewards(events=("buy",))).reward.tolist() == [1.0, 0.0]
    assert read_requests(folder, Rewards(events=("buy",), values=True)).reward.tolist() == [7.5, 0]
    with pytest.raises(InputError, match="no event rent in the export; it has buy, open"):
        read_requests(folder, Rewards(events=("rent",)))


def test_requests_whose_context_is_not_logged_are_counted(export):
    cases: dict[str, dict[str, Any]] = {
        "not a home slate": {"scene": "search"},
        "a later page": {"page": 2},
        "not from the models": {"source": "fallback"},
        "impressions are missing": {"k": 3},
        "without a propensity": {},
        "with sponsored items": {},
    }
    requests = [REQUEST | {"page": 1}]
    impressions = two_items("r1")
    for number, (reason, changes) in enumerate(cases.items()):
        request = f"x{number}"
        requests.append(REQUEST | {"request_id": request} | changes)
        worse: dict[str, Any] = {"propensity": None} if reason.startswith("without") else {}
        worse |= {"sponsored": "c1"} if reason.startswith("with s") else {}
        impressions += [shown(request, 1, "a", **worse), shown(request, 2, "b")]
    found = read_requests(export(requests, impressions, [taken("a", 1)]))
    assert found.request_ids.tolist() == ["r1"]
    assert found.left_out == dict.fromkeys(cases, 1)


def test_impressions_are_in_the_order_of_their_requests(export):
    """Whatever the ids of requests are, which are random."""
    names = ["z9", "a1", "m5", "b2"]
    requests = [REQUEST | {"request_id": name, "ts": 1000 + n} for n, name in enumerate(names)]
    impressions = [one for name in sorted(names) for one in reversed(two_items(name))]
    found = read_requests(export(requests, impressions, [taken("a", 1)]))
    assert found.request_ids.tolist() == names
    assert found.request.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.place.tolist() == [1, 2] * 4


def test_an_impression_twice_or_at_a_wrong_place_is_not_whole(export):
    requests = [REQUEST, REQUEST | {"request_id": "r2"}]
    impressions = [*two_items("r1"), shown("r2", 1, "a"), shown("r2", 1, "b")]
    found = read_requests(export(requests, impressions, [taken("a", 1)]))
    assert found.left_out == {"impressions are missing": 1}


def test_arms_are_marked_and_whole_users_are_drawn(export):
    requests, impressions = [], []
    for user in range(8):
        for number in range(3):
            request = f"r{user}-{number}"
            arms = [("e", "b")] if user == 3 else []
            own = {"request_id": request, "user_id": f"u{user}", "arms": arms}
            requests.append(REQUEST | own)
            impressions += two_items(request, user_id=f"u{user}")
    folder = export(requests, impressions, [taken("a", 1)])
    every = read_requests(folder)
    assert len(every.user) == 24 and every.in_arm.sum() == 3
    some = read_requests(folder, most=7)
    assert 7 <= len(some.user) <= 9
    assert np.bincount(some.user).tolist() == [3, 3, 3]
    assert some.request_ids.tolist() == read_requests(folder, most=7).request_ids.tolist()


def test_folders_of_another_kind_are_refused(export, tmp_path):
    with pytest.raises(EventsInvalidError, match="no Parquet file"):
        read_requests(tmp_path)
    folder = export([REQUEST], two_items("r1"), [taken("a", 1)])
    rows = [{"user_id": "u", "context": json.dumps({})}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "requests" / "old.parquet")
    (folder / "requests" / "day=2026-05-01" / "events.parquet").unlink()
    with pytest.raises(EventsInvalidError, match="no column k, page"):
        read_requests(folder)
    (folder / "requests" / "old.parquet").write_bytes(b"no Parquet")
    with pytest.raises(EventsInvalidError, match=r"cannot be read .* Export the events again"):
        read_requests(folder)
