"""What an app asks wrongly is a clear error before anything is logged."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.features import History
from pocketrec_edge.device import Device
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.recommend.filters import Filters, Range
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def phone(tiny_release, tmp_path_factory):
    home = tmp_path_factory.mktemp("phone")
    device = Device(home, engine="onnx", clock=lambda: NOW)
    device.install(tiny_release)
    yield device
    device.close()


def wrong(kind: Callable[..., Any], **values: object) -> Any:
    """Build a value with arguments of types that a type checker would refuse."""
    return kind(**values)


WRONG_SLATES = [
    *({"k": k} for k in (0, -5, 1001, 10**12, 2.0, math.nan, "5", True, [5])),
    *({"page": page} for page in (0, -1, 1.5, "1", False)),
    {"session": "token"},
    {"page": 1, "session": 7},
    *({"scene": scene} for scene in ("cellar", "", None, 3, "similar", "after")),
    {"scene": "similar", "item_id": 50},
    {"scene": "search", "results": "abc"},
    {"scene": "search", "results": [1, 2]},
    {"results": None},
    {"scene": "search", "results": iter(["a"])},
    *({"deadline_ms": ms} for ms in (-1, math.nan, math.inf, "50", True, 10**400)),
    *({"filters": one} for one in ({"price": 3}, "price")),
    {"filters": Filters(ranges=(Range(column="price", low=5.0, high=1.0),))},
    {"filters": Filters(ranges=(Range(column="price", low=math.nan),))},
    {"filters": wrong(Filters, ranges=(wrong(Range, column="price", high="9"),))},
    {"filters": wrong(Filters, ranges=(wrong(Range, column=7),))},
    {"filters": wrong(Filters, ranges=("price",))},
    {"filters": wrong(Filters, any_of="drama")},
    {"filters": wrong(Filters, none_of=(3,))},
    {"filters": wrong(Filters, any_of=None)},
    {"filters": wrong(Filters, ranges=None)},
    {"filters": wrong(Filters, region=3)},
    *({"filters": wrong(Filters, max_age_rating=age)} for age in (-1, 12.5, "12", True, math.nan)),
    {"filters": wrong(Filters, max_age_rating=6, unrated="no")},
]


@pytest.mark.parametrize("asked", WRONG_SLATES, ids=lambda asked: str(asked).partition(" at 0x")[0])
def test_a_slate_that_cannot_be_is_refused_and_logs_nothing(phone, asked):
    before = phone.status().plain()["events"]
    with pytest.raises(RequestInvalidError) as told:
        phone.recommend(**asked)
    assert isinstance(told.value, ValueError) and isinstance(told.value, InputError)
    assert phone.status().plain()["events"] == before


@pytest.mark.parametrize(
    "asked",
    [
        {"k": 1},
        {"k": 1000},
        {"k": np.int64(3)},
        {"page": 10**9},
        {"page": 1, "session": "unknown"},
        {"deadline_ms": 0},
        {"deadline_ms": np.float32(0.5)},
        {"scene": "search", "results": ("a", "b")},
        {"filters": Filters(ranges=(Range(column="price", low=-math.inf, high=math.inf),))},
        {"filters": wrong(Filters, any_of=["drama"], max_age_rating=0)},
        {"filters": Filters(region="nowhere")},
    ],
    ids=str,
)
def test_what_is_at_its_bound_is_answered(phone, asked):
    assert phone.recommend(**asked, log_impressions=False).source != "none"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [np.float32(3.5), np.float64(2), np.int64(4), np.uint8(5), 6])
def test_numbers_of_numpy_are_stored_as_numbers(phone, tmp_path, number):
    made = phone.feedback("é-0", "rating", number)
    phone.export_data(tmp_path / "copy.jsonl")
    lines = map(json.loads, (tmp_path / "copy.jsonl").read_text().splitlines())
    assert [line["value"] for line in lines if line.get("id") == made] == [float(number)]


def test_a_page_that_numpy_counted_comes_again_as_json(phone):
    one = phone.recommend(page=np.int64(1), log_impressions=False)
    again = phone.recommend(page=np.int64(1), session=one.session, log_impressions=False)
    assert json.loads(json.dumps(again.plain()))["page"] == 1 and again.source == "page"


WRONG_FEEDBACK = [
    ("é-0", "lik", None),
    ("é-0", "", None),
    ("é-0", None, None),
    ("é-0", "x" * 65, None),
    ("", "like", None),
    ("x" * 257, "like", None),
    ("a\0b", "like", None),
    (7, "like", None),
    ("é-0", "like", math.nan),
    ("é-0", "like", -math.inf),
    ("é-0", "like", 1e301),
    ("é-0", "like", "5"),
    ("é-0", "like", True),
]


@pytest.mark.parametrize(("item_id", "event", "value"), WRONG_FEEDBACK, ids=str)
def test_feedback_that_cannot_be_is_refused_and_not_logged(phone, item_id, event, value):
    before = phone.status().plain()["events"]
    with pytest.raises(RequestInvalidError):
        phone.feedback(item_id, event, value)
    assert phone.status().plain()["events"] == before


def test_an_unknown_event_gets_the_release_s_names_and_the_nearest(phone):
    with pytest.raises(RequestInvalidError, match=r"has rating, like\. Did you mean 'like'\?"):
        phone.feedback("é-0", "liek")


def test_without_a_release_any_well_formed_event_is_kept(tmp_path):
    phone = Device(tmp_path)
    phone.feedback("x", "like", 5)
    with pytest.raises(RequestInvalidError):
        phone.feedback("x", "")
    assert phone.status().plain()["interactions"] == 1


def test_requests_are_checked_before_there_is_a_release(tmp_path):
    phone = Device(tmp_path)
    for asked in ({"k": 0}, {"page": 0}, {"scene": "cellar"}):
        with pytest.raises(RequestInvalidError):
            phone.recommend(**asked)


@pytest.mark.parametrize("k", [0, -1, 1001, "3"])
def test_explanations_and_the_pipeline_check_k_too(phone, k):
    with pytest.raises(RequestInvalidError):
        phone.explain(k=k)
    with pytest.raises(RequestInvalidError):
        Recommender(phone.bundle, "onnx").recommend(Query(History.empty(), NOW, k))


def test_a_decision_that_is_no_decision_is_refused(phone):
    for wrong in ("no", 1, None):
        with pytest.raises(RequestInvalidError):
            phone.set_consent(wrong)
    with pytest.raises(RequestInvalidError):
        phone.set_consent(True, 5)
    assert phone.status().plain()["consent"]["state"] == "unknown"


def test_interests_are_a_list_of_names(phone):
    for wrong in ("drama", [3]):
        with pytest.raises(RequestInvalidError, match="names of categories"):
            phone.set_interests(wrong)
    with pytest.raises(RequestInvalidError):
        phone.explain(7)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"threads": 1.5}, {"storage_bytes": 0}])
def test_a_phone_with_impossible_settings_is_not_opened(tmp_path, wrong):
    with pytest.raises(RequestInvalidError):
        Device(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()
