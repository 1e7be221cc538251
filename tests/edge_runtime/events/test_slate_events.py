"""Requests, sessions of the app and feedback that names its slate, in plain and encrypted logs."""

import json
import os
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pocketrec.cli import main
from pocketrec_edge.device import Device
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.events.event import IMPRESSION, INTERACTION, REQUEST, Event
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import Retention

NOW = 1_780_000_000


class AesGcm:
    def __init__(self):
        self.gcm = AESGCM(bytes(range(32)))

    def encrypt(self, plain):
        nonce = os.urandom(12)
        return nonce + self.gcm.encrypt(nonce, plain, None)

    def decrypt(self, sealed):
        return self.gcm.decrypt(sealed[:12], sealed[12:], None)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=[None, AesGcm()], ids=["plain", "encrypted"])
def phone(request, tiny_release, tmp_path, clock):
    settings = {"bundle": tiny_release, "engine": "onnx", "cipher": request.param}
    with Device(tmp_path / "phone", clock=clock, **settings) as device:
        device.set_consent(True, "terms")
        yield device


def logged(device, kind):
    return [event for event in device._user.log.opened().pending(999) if event.kind == kind]


def test_a_slate_is_one_request_and_its_impressions(phone, tmp_path, bytes_of):
    answer = phone.recommend(3)
    (request,) = logged(phone, REQUEST)
    assert (request.id, request.item_id, request.event) == (answer.request, "", "home")
    assert len(request.id) == 22
    assert [(e.id, e.item_id, e.context["place"]) for e in logged(phone, IMPRESSION)] == [
        (f"{answer.request}.{place}", item.item_id, place)
        for place, item in enumerate(answer.items, 1)
    ]
    encrypted = phone._user.log.opened()._cipher is not None
    assert (b'"source":"model"' in bytes_of(tmp_path / "phone")) == (not encrypted)
    assert phone.recommend(3).request != answer.request


def test_feedback_finds_the_place_in_the_slate_that_it_names(phone):
    one, two = phone.recommend(4), phone.recommend(4, scene="similar", item_id="item 3")
    for answer in (one, two):
        for item in answer.items:
            phone.feedback(item.item_id, "like", request=answer.request)
    places = [(e.context["request"], e.context["place"]) for e in logged(phone, INTERACTION)]
    assert sorted(places) == sorted(
        (answer.request, place)
        for answer in (one, two)
        for place in range(1, len(answer.items) + 1)
    )
    assert one.request != two.request and len(two.items) > 0
    phone.feedback("item 47", "like", request=one.request)
    phone.feedback("item 47", "like", request="of-another-phone")
    last = [e.context for e in logged(phone, INTERACTION) if e.item_id == "item 47"]
    assert {context["request"] for context in last} == {one.request, "of-another-phone"}
    assert not any("place" in context for context in last)


def test_a_session_ends_after_a_pause_and_goes_on_in_a_later_process(phone, tmp_path, clock):
    def session(kind=REQUEST):
        return max(logged(phone, kind), key=lambda event: (event.ts, event.id)).context["session"]

    phone.recommend(2)
    first = session()
    clock.now += 1800
    phone.feedback("item 1", "like")
    assert session(INTERACTION) == first and len(first) == 11
    clock.now += 1800
    phone.recommend(2)
    assert session() == first
    clock.now += 1801
    phone.recommend(2)
    second = session()
    assert second != first
    with closing(EventLog(phone._home.event_log, cipher=phone._cipher)) as log:  # a new process
        log.append("item 2", "like", ts=clock.now + 9, now=clock.now + 9)
    assert session(INTERACTION) == second
    clock.now += 9 + 61
    log = phone._user.log.opened()
    log.append(
        "item 3", "like", ts=clock.now, now=clock.now, pause_s=60
    )  # as a signed setting says
    assert session(INTERACTION) not in (first, second)
    phone.recommend(2, log_impressions=False)
    assert len({e.context["session"] for e in logged(phone, REQUEST)}) == 2


def test_what_an_app_stores_itself_is_part_of_no_session(phone):
    phone._user.log.opened().append("item 1", "like", ts=NOW)
    (event,) = logged(phone, INTERACTION)
    assert event.context == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"request": 7}, "expected the text that `Answer.request` holds"),
        ({"request": "short"}, "expected the text"),
        ({"request": "x" * 59}, "expected the text"),
        ({"request": "with a blank"}, "expected the text"),
        ({"request": "r" * 22, "place": 0}, "place=0: expected a whole number from 1 to 1,000"),
        ({"request": "r" * 22, "place": 1.0}, "place=1.0"),
        ({"request": "r" * 22, "place": True}, "place=True"),
        ({"place": 1}, "a place goes with a request"),
        ({"value": 1.0, "currency": "gbp"}, "three capital letters"),
        ({"value": 1.0, "currency": 7}, "three capital letters"),
        ({"currency": "GBP"}, "it needs a value"),
    ],
)
def test_a_wrong_source_or_currency_is_refused_and_nothing_is_logged(phone, given, told):
    with pytest.raises(RequestInvalidError, match=told):
        phone.feedback("item 1", "like", **given)
    assert logged(phone, INTERACTION) == []


def test_an_empty_slate_is_a_request_and_a_phone_without_release_logs_none(
    tiny_release, tmp_path, clock
):
    with Device(tmp_path / "new", clock=clock, engine="onnx") as bare:
        bare.set_consent(True)
        assert bare.recommend(3).request is None
        assert bare.status().plain()["events"] == 0
    with Device(tmp_path / "phone", bundle=tiny_release, clock=clock, engine="onnx") as device:
        device.set_consent(True)
        answer = device.recommend(scene="search", results=["no such item"])
        (request,) = logged(device, REQUEST)
        assert (answer.items, request.id, request.context["k"]) == ((), answer.request, 0)


def test_a_full_log_keeps_interactions_and_exposures_longest(tmp_path, clock):
    limits = Retention(max_bytes=180_000, hard_max_bytes=180_000, every=10**6)
    log = EventLog(tmp_path / "e.sqlite", limits=limits, clock=clock)
    for n in range(900):
        kind = ("request", "impression", "interaction", "exposure")[n % 4]
        event = Event(
            id=f"{n:022}", kind=kind, item_id="i", event="e", value=None, ts=NOW + n, context={}
        )
        log.append_many([event])
    log._retain()
    left = [row[0].kind for row in log.export_rows() if isinstance(row, tuple)]
    log.close()
    assert {kind: left.count(kind) for kind in ("interaction", "exposure")} == {
        "interaction": 225,
        "exposure": 225,
    }
    assert 0 < len(left) - 450 < 450


def test_by_the_commands(tiny_release, tmp_path, runner):
    at = ["--home", str(tmp_path / "phone")]
    shown = [*at, "--bundle", str(tiny_release), "--engine", "onnx", "-k", "2"]
    answer = json.loads(runner.invoke(main, ["device", "recommend", *shown, "--json"]).stdout)
    assert (len(answer["request"]), answer["arms"]) == (22, {})
    again = runner.invoke(main, ["device", "recommend", *shown])
    assert "request " in again.stderr and "request" not in again.stdout
    item = answer["items"][1]["item_id"]
    words = ["device", "feedback", *at, item, "--request", answer["request"], "--value", "9.5"]
    assert runner.invoke(main, [*words, "--currency", "GBP"]).exit_code == 0
    assert runner.invoke(main, [*words, "--place", "5", "--json"]).exit_code == 0
    refused = runner.invoke(main, ["device", "feedback", *at, item, "--place", "5"])
    assert (refused.exit_code, "goes with a request" in refused.stderr) == (2, True)
    with closing(EventLog(tmp_path / "phone" / "events.sqlite")) as log:
        log.set_consent(True)
        taps = [e.context for e in log.pending(99) if e.kind == INTERACTION]
    assert sorted((tap["place"], tap.get("currency")) for tap in taps) == [(2, "GBP"), (5, None)]
    assert {tap["request"] for tap in taps} == {answer["request"]}
