"""Uploads of sums against bad input, repetition, disorder and time; the parts are real."""

import json
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
import urllib3
from click.testing import CliRunner
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment_sums import BODY_BYTES, LIMITS, DeviceSums
from pocketrec_bundle.units import DAY_S
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import privacy
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.slate_events import Exposure, exposure_event
from pocketrec_edge.experiments.sums_memory import GRACE_S, keep_sums, read_sums
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.uploads.sums import erase_sums_on_server, send_sums
from pocketrec_server.experiments import signing
from pocketrec_server.storage.tables import EXPERIMENT_SUMS
from pocketrec_server.sums import store


class AesGcm:
    """The app's cipher: a random nonce of 96 bits in front."""

    def __init__(self, key):
        self.gcm = AESGCM(bytes([key] * 32))

    def encrypt(self, plain):
        nonce = os.urandom(12)
        return nonce + self.gcm.encrypt(nonce, plain, None)

    def decrypt(self, sealed):
        return self.gcm.decrypt(sealed[:12], sealed[12:], None)


HEADERS = {"Content-Type": "application/json"}


def rows(site):
    with site.engine.connect() as connection:
        found = connection.execute(select(EXPERIMENT_SUMS)).all()
    return [row._asdict() | json.loads(row.body) for row in found]


def post(site, data, headers=HEADERS):
    return urllib3.request("POST", f"{site.url}/v1/sums", body=data, headers=headers)


@pytest.fixture
def body(site):
    """A body that the server accepts, as JSON."""
    experiment = site.experiment
    zeros = dict.fromkeys(LIMITS, 0)
    past = {name: 0 for name in zeros if name not in ("distinct_items", "busiest_day")}
    return {
        "schema": 1,
        "consent": True,
        "channel": "stable",
        "experiment": experiment.id,
        "salt": experiment.salt,
        "arm": "control",
        "id": "ab" * 16,
        "seq": 1,
        "currency": None,
        "sums": zeros | {"requests": 3, "impressions": 9, "clicks": 2},
        "past": past,
        "score_bins": [0] * 13,
        "latency_bins": [0] * 13,
    }


@pytest.fixture
def old_server():
    """Address of a server without the route."""
    server = make_server("127.0.0.1", 0, Flask("old"))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def changed(body, change):
    value = json.loads(json.dumps(body))
    change(value)
    return value


BAD = {
    "a fraction": lambda b: b["sums"].update(clicks=1.5),
    "a negative count": lambda b: b["sums"].update(clicks=-1),
    "above its limit": lambda b: b["sums"].update(requests=LIMITS["requests"] + 1),
    "endless digits": lambda b: b["sums"].update(slate_us=10**400),
    "true in place of 1": lambda b: b["sums"].update(clicks=True),
    "a text": lambda b: b["sums"].update(clicks="1"),
    "null": lambda b: b["sums"].update(clicks=None),
    "more clicks than impressions": lambda b: b["sums"].update(clicks=10),
    "an unknown sum": lambda b: b["sums"].update(age=30),
    "a missing sum": lambda b: b["past"].pop("clicks"),
    "an unknown key": lambda b: b.update(install_id="0f8fad5bd9cb469fa165"),
    "a missing key": lambda b: b.pop("past"),
    "two arms": lambda b: b.update(arm=["control", "treatment"]),
    "no consent": lambda b: b.update(consent=False),
    "a later schema": lambda b: b.update(schema=2),
    "seq 0": lambda b: b.update(seq=0),
    "an id of another form": lambda b: b.update(id="0f8f"),
    "too few bins": lambda b: b.update(score_bins=[0]),
    "a negative bin": lambda b: b["latency_bins"].__setitem__(0, -1),
    "a currency of another form": lambda b: b.update(currency="euro"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_body_of_another_form_is_refused_and_leaves_nothing(site, body, what):
    answer = post(site, json.dumps(changed(body, BAD[what])))
    assert answer.status == 400
    assert rows(site) == []


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(site, body, text):
    data = json.dumps(body).replace('"clicks": 2', f'"clicks": {text}')
    assert text in data
    assert post(site, data).status == 400
    assert rows(site) == []


def test_a_body_that_is_too_large_or_of_another_type_is_refused(site, body):
    good = json.dumps(body)
    assert post(site, good.ljust(BODY_BYTES + 1)).status == 413
    assert post(site, good, {"Content-Type": "text/plain"}).status == 415
    assert post(site, "[]").status == 400
    assert post(site, "{").status == 400
    assert rows(site) == []
    assert post(site, good.ljust(BODY_BYTES)).status == 200


@pytest.mark.parametrize(
    "change", [{"experiment": "other"}, {"salt": "00" * 16}, {"arm": "third"}, {"channel": "beta"}]
)
def test_an_unknown_experiment_salt_arm_or_channel_is_refused(site, body, change):
    assert post(site, json.dumps(body | change)).status == 409
    assert rows(site) == []


def test_the_newest_body_of_an_id_stays_in_any_order(site, body):
    for seq, clicks, stored in ((2, 5, True), (1, 3, False), (2, 7, False), (3, 9, True)):
        sums = body["sums"] | {"clicks": clicks}
        answer = post(site, json.dumps(body | {"seq": seq, "sums": sums}))
        assert (answer.status, answer.json()) == (200, {"stored": stored})
    (row,) = rows(site)
    assert (row["seq"], row["sums"]["clicks"]) == (3, 9)


def test_received_sums_are_counted_by_result(site, body):
    for seq in (2, 1, 0):
        post(site, json.dumps(body | {"seq": seq}))
    shown = urllib3.request("GET", f"{site.url}/metrics").data.decode()
    for result in ("stored", "older", "refused"):
        assert f'pocketrec_sums_received_total{{result="{result}"}} 1.0' in shown


def test_an_id_cannot_change_its_arm(site, body):
    assert post(site, json.dumps(body)).status == 200
    assert post(site, json.dumps(body | {"seq": 2, "arm": "treatment"})).status == 409
    (row,) = rows(site)
    assert (row["arm"], row["seq"]) == ("control", 1)


def test_sums_stay_until_long_after_the_end_and_are_deleted_then(site, body):
    post(site, json.dumps(body))
    end = site.experiment.until_utc
    assert store.forget_old(site.engine, end + store.KEPT_DAYS * DAY_S) == 0
    assert store.forget_old(site.engine, end + store.KEPT_DAYS * DAY_S + 1) == 1
    assert rows(site) == []


def test_a_phone_sends_once_a_day_and_cumulative(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="abc"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    phone.log(*slate_of(at + 200, "s", items="abd", clicked="a"))
    assert phone.send(at + 300) == 0  # the same day
    assert phone.send(at + DAY_S) == 1
    assert phone.send(at + 2 * DAY_S) == 0  # nothing new
    (row,) = rows(site)
    assert (row["seq"], row["sums"]["requests"], row["sums"]["impressions"]) == (2, 2, 6)
    assert (row["sums"]["clicks"], row["sums"]["distinct_items"]) == (1, 4)


def test_a_lost_answer_or_a_kill_before_it_counts_nothing_twice(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="abc"), consent=True, only_sums=True)
    before = None
    for _ in range(3):  # the phone never learns that the server stored it
        phone.send(at + 60)
        (run,) = read_sums(phone.home).runs
        keep_sums(
            phone.home, read_sums(phone.home).with_run(replace(run, sent=None, sent_day=None))
        )
        (row,) = rows(site)
        assert before is None or row["sums"] == before
        before = row["sums"]
    assert (row["seq"], row["sums"]["requests"]) == (3, 1)


def test_a_reinstalled_phone_is_a_new_device(site, slate_of):
    for name in ("phone", "again"):
        phone, at = site.phone(name), site.start_utc + 100
        phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
        assert phone.send(at + 60) == 1
    assert len({row["id"] for row in rows(site)}) == 2


def test_an_erasure_removes_ids_and_sums_here_and_on_the_server(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    phone.send(at + 60)
    (row,) = rows(site)
    with Device(phone.home.folder, engine="onnx") as device:
        device.export_data(site.folder / "copy.jsonl")
    assert row["id"] in (site.folder / "copy.jsonl").read_text()
    assert erase_sums_on_server(phone.home, site.url, Network()) == 1
    assert rows(site) == []
    report = privacy.erase(phone.home)
    assert report.sums_ids == (row["id"],)
    for path in phone.home.folder.rglob("*"):
        assert not path.is_file() or row["id"].encode() not in path.read_bytes()
    assert phone.send(at + DAY_S) == 0 and rows(site) == []


def test_a_withdrawal_ends_uploads_and_what_was_before_it_never_leaves(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    phone.log(consent=False, at=at + 50)
    assert phone.send(at + 60) == 0
    phone.log(*slate_of(at + 70, "s", items="cd"))
    phone.log(consent=True, only_sums=True, at=at + 90)
    assert phone.send(at + 95) == 0  # exposed before the withdrawal
    phone.log(phone.exposed(at + 100), *slate_of(at + 110, "t", items="efg"))
    assert phone.send(at + 120) == 1
    (row,) = rows(site)
    assert (row["sums"]["impressions"], row["past"]["impressions"]) == (3, 0)


def test_with_sums_only_no_event_is_ever_sent(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(*slate_of(at, "s", items="ab"))
    phone.log(consent=True, only_sums=True, at=at + 10)
    phone.log(phone.exposed(at + 20), *slate_of(at + 20, "s", items="ab"))
    phone.log(consent=True, at=at + 30)
    with closing(EventLog(phone.home.event_log)) as log:
        assert log.pending(100) == []
    phone.log(*slate_of(at + 40, "s", items="c"))
    with closing(EventLog(phone.home.event_log)) as log:
        assert len(log.pending(100)) == 2


@pytest.mark.parametrize("days", [-40, -3, 10, 400])
def test_an_exposure_by_a_clock_that_is_off_by_days_sends_nothing(site, slate_of, days):
    phone, at = site.phone(), site.start_utc + 100 + days * DAY_S
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 0
    assert rows(site) == []


def test_a_forced_arm_and_an_unknown_one_send_nothing(site, slate_of):
    at = site.start_utc + 100
    forced = site.phone("forced")
    forced.log(forced.exposed(at, forced=True), forced.exposed(at + 1), consent=True)
    unknown = site.phone("unknown", arm="interleaved")
    unknown.log(unknown.exposed(at), *slate_of(at, "s", items="ab"), consent=True)
    assert (forced.send(at + 60), unknown.send(at + 60)) == (0, 0)
    assert rows(site) == []


def test_after_the_end_the_last_sums_go_once_and_the_id_is_forgotten(site, slate_of):
    phone, at, end = site.phone(), site.start_utc + 100, site.experiment.until_utc
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    phone.log(*slate_of(end - 50, "t", items="cd"), *slate_of(end + 50, "t", items="ef"))
    assert phone.send(end + DAY_S) == 1
    (row,) = rows(site)
    assert row["sums"]["impressions"] == 4  # nothing of after the end
    (run,) = read_sums(phone.home).runs
    assert run.is_final
    phone.log(*slate_of(end - 40, "t", items="gh"))
    assert phone.send(end + 2 * DAY_S) == 0
    assert phone.send(end + GRACE_S) == 0
    assert read_sums(phone.home).runs == ()


def test_a_stopped_experiment_sends_a_last_body(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    signing.move(site.repo, site.signers, "stable", "blend", "stop")
    phone.follow()
    phone.log(*slate_of(at + 70, "s", items="cd"))
    assert phone.send(at + DAY_S) == 1
    phone.log(*slate_of(at + DAY_S + 70, "u", items="cd"))
    assert phone.send(at + 2 * DAY_S) == 0
    (row,) = rows(site)
    assert row["sums"]["impressions"] == 4


def test_an_old_server_answers_404_and_the_phone_asks_again_another_day(site, slate_of, old_server):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    with SyncLog(phone.home, None) as opened:
        assert send_sums(opened, old_server, Network(), at + 60) == 0
    waits = read_sums(phone.home).wait_until_utc
    assert waits == at + 60 + DAY_S
    assert phone.send(waits - 1) == 0
    assert phone.send(waits) == 1


def test_a_server_that_cannot_be_reached_costs_nothing(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    with SyncLog(phone.home, None) as opened:
        assert send_sums(opened, "http://127.0.0.1:9", Network(), at + 60) == 0
    assert phone.send(at + 61) == 1


def test_a_memory_is_encrypted_with_the_app_s_cipher(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    (plain,) = read_sums(phone.home).runs
    cipher, other = AesGcm(1), AesGcm(2)
    assert read_sums(phone.home, cipher).runs == (plain,)  # of before the app had a cipher
    phone.cipher = cipher
    phone.log(*slate_of(at + 70, "s", items="cd"))
    assert phone.send(at + 80) == 0  # nothing is due, and the memory is encrypted
    content = phone.home.sums.read_bytes()
    assert plain.id.encode() not in content and b"blend" not in content
    assert read_sums(phone.home, cipher).runs == (plain,)
    assert phone.send(at + DAY_S) == 1
    (run,) = read_sums(phone.home, cipher).runs
    assert (run.id, run.seq) == (plain.id, 2)
    assert b"blend" not in phone.home.sums.read_bytes()
    (row,) = rows(site)
    assert (row["id"], row["sums"]["impressions"]) == (plain.id, 4)
    for wrong in (None, other):
        with pytest.raises(EventLogError, match=r"sums\.json: it is encrypted"):
            read_sums(phone.home, wrong)
        with pytest.raises(EventLogError, match=r"sums\.json"):
            erase_sums_on_server(phone.home, site.url, Network(), wrong)
        phone.cipher = wrong
        assert phone.send(at + 2 * DAY_S) == 0
    assert read_sums(phone.home, cipher).runs == (run,)  # a wrong key loses nothing


def test_encrypted_ids_are_exported_and_erased_with_the_cipher_and_erased_without(site, slate_of):
    phone, at, cipher = site.phone(), site.start_utc + 100, AesGcm(1)
    phone.cipher = cipher
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    (row,) = rows(site)
    with Device(phone.home.folder, engine="onnx", cipher=cipher) as device:
        device.export_data(site.folder / "copy.jsonl")
        assert row["id"] in (site.folder / "copy.jsonl").read_text()
        kept = phone.home.sums.read_bytes()
        report = device.erase()
    assert (report.sums_ids, report.unread_sums) == ((row["id"],), False)
    assert not phone.home.sums.exists()
    phone.home.sums.write_bytes(kept)
    report = privacy.erase(phone.home)
    assert (report.sums_ids, report.unread_sums) == ((), True)
    assert not phone.home.sums.exists()
    phone.home.sums.write_bytes(kept)
    done = CliRunner().invoke(main, ["device", "erase", "--home", str(phone.home.folder), "--yes"])
    assert done.exit_code == 0 and "ids that were encrypted" in done.stderr


def test_a_cipher_that_fails_keeps_the_plain_memory_and_sends_nothing(site, slate_of):
    class Broken(AesGcm):
        def encrypt(self, plain):
            raise OSError("the key store is locked")

    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    before = phone.home.sums.read_bytes()
    with SyncLog(phone.home, None) as opened:
        assert opened.existing() is not None
        opened.cipher = Broken(1)  # the log was opened while the key was there
        assert send_sums(opened, site.url, Network(), at + DAY_S) == 0
    assert phone.home.sums.read_bytes() == before


def test_a_damaged_memory_starts_again(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    phone.log(phone.exposed(at), *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    for content in (
        "{",
        "[]",
        "[" * 9999,
        '{"sealed": 1}',
        '{"runs": [{"id": 1}], "wait_from_utc": 0, "wait_until_utc": 0}',
    ):
        phone.home.sums.write_text(content)
        assert read_sums(phone.home).runs == ()
    assert phone.send(at + 60) == 1


def test_two_experiments_have_ids_of_their_own(site, slate_of):
    site.begin("second", layer="other", flag="small")
    phone, at = site.phone(), site.start_utc + 100
    signed = {one.id: one for one in site.signed.experiments}
    exposures = [
        exposure_event(Exposure(experiment=name, arm="control", salt=one.salt), at)
        for name, one in signed.items()
    ]
    phone.log(*exposures, *slate_of(at, "s", items="ab"), consent=True, only_sums=True)
    assert phone.send(at + 60) == 2
    found = rows(site)
    assert {row["experiment"] for row in found} == {"blend", "second"}
    assert len({row["id"] for row in found}) == 2


def test_numbers_beyond_their_limits_are_cut_on_the_phone(site, tap_of):
    phone, at = site.phone(), site.start_utc + 100
    taps = [tap_of(at + 10, "a", "purchase", 1e14, session="s")]
    phone.log(phone.exposed(at), *taps, consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    (row,) = rows(site)
    assert row["sums"]["revenue_cents"] == LIMITS["revenue_cents"]
    assert DeviceSums.from_json(
        {key: row[key] for key in DeviceSums.__dataclass_fields__} | {"schema": 1, "consent": True}
    )


def test_sums_do_not_fall_when_the_log_loses_events(site, slate_of):
    phone, at = site.phone(), site.start_utc + 100
    old = slate_of(at, "s", items="abc", clicked="a", bought=("b", 9.5))
    phone.log(phone.exposed(at), *old, consent=True, only_sums=True)
    assert phone.send(at + 60) == 1
    with closing(sqlite3.connect(phone.home.event_log, isolation_level=None)) as connection:
        connection.execute("DELETE FROM event WHERE kind != 'exposure'")  # as retention does
    phone.log(*slate_of(at + DAY_S, "t", items="defgh"))
    assert phone.send(at + DAY_S + 60) == 1
    (row,) = rows(site)
    assert (row["sums"]["impressions"], row["sums"]["clicks"]) == (5, 2)
    assert (row["sums"]["requests"], row["sums"]["revenue_cents"]) == (1, 950)
    assert row["seq"] == 2


def test_a_phone_counts_the_conversions_that_are_signed(site, slate_of, tap_of):
    signing.move(site.repo, site.signers, "stable", "blend", "stop")
    signing.set_conversions(site.repo, site.signers, "stable", ("like", "save"))
    site.begin()
    phone, at = site.phone(), site.start_utc + 100
    phone.log(
        phone.exposed(at),
        *slate_of(at + 1, "session-1", items=["a", "b"], bought=("a", 12.5)),
        tap_of(at + 60, "a", "like", 2.0, currency="USD"),
        tap_of(at + 61, "b", "save"),
        consent=True,
        only_sums=True,
    )
    assert phone.send(at + 200) == 1
    (row,) = rows(site)
    assert (row["sums"]["conversions"], row["sums"]["revenue_cents"]) == (2, 200)
    assert row["currency"] == "USD"
