"""What an experiment stores, from the upload to the deletion, on SQLite and on PostgreSQL."""

import itertools
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, text

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment_sums import LIMITS, PAST_LIMITS, DeviceSums
from pocketrec_bundle.units import DAY_S
from pocketrec_server.admin.services import services
from pocketrec_server.app import create_app
from pocketrec_server.copies import seal
from pocketrec_server.copies.backup import back_up
from pocketrec_server.copies.restore import restore
from pocketrec_server.events import ingest
from pocketrec_server.events.export import export_events
from pocketrec_server.events.rate_limit import LIMITS as UPLOADS
from pocketrec_server.events.uploads import Upload
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import read_halted_arms
from pocketrec_server.halting import guard, looks
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import (
    connect,
    default_url,
    open_database,
    upgrade,
    writing,
)
from pocketrec_server.storage.tables import (
    EVENT,
    EXPERIMENT_SUMS,
    EXPOSED,
    GUARD_DAY,
    GUARD_LOOK,
    SUMS_RELEASE,
)
from pocketrec_server.sums import store
from pocketrec_server.sums.export import export_sums
from pocketrec_server.sums.release import Run, release

NAME = "blend".ljust(32, "x")
ARMS = tuple(arm.ljust(32, "x") for arm in ("control", "treatment"))
"""The longest names that a plan may have: PostgreSQL checks the length of a column."""
PHONES = 120


def sums_of(one, n, *, seq=1, **more):
    """Sums of device n, of which every third has bought something."""
    bought = n % 3 == 0
    counts = dict.fromkeys(LIMITS, 0) | {
        "requests": 2,
        "impressions": 10,
        "clicks": n % 4,
        "interactions": n % 4 + bought,
        "conversions": int(bought),
        "revenue_cents": 500 * bought,
        "sessions": 1,
        "busiest_day": 6,
        "timed": 2,
        "slate_us": 20_000,
        "distinct_items": 8,
    }
    return DeviceSums(
        channel="stable",
        experiment=one.id,
        salt=one.salt,
        arm=ARMS[n % 2],
        id=f"{n:032x}",
        seq=seq,
        currency="EUR",
        sums=counts | more,
        past=dict.fromkeys(PAST_LIMITS, 0),
        score_bins=(0, 0, 0, 0, 10, *[0] * 8),
        latency_bins=(0, 0, 0, 2, *[0] * 9),
    )


class Server:
    """The app over a database, with an experiment whose fifth day has ended."""

    def __init__(self, repo, signers, url, percent=100):
        self.repo, self.signers, self.url = repo, signers, url
        self.now = int(time.time())
        self.begin = self.now - 5 * DAY_S - looks.LATE_S
        self.engine = connect(url)
        upgrade(self.engine)
        self.app = create_app(Settings(repo=repo, database_url=url, log_requests=False))
        plan = {
            "id": NAME,
            "until_utc": self.begin + 7 * DAY_S,
            "arms": [
                {"name": ARMS[0], "share": 0.5},
                {"name": ARMS[1], "share": 0.5, "flags": {"new": True}},
            ],
            "guardrails": [{"metric": "fallback_share", "worse_by": 0.1, "alpha": 0.01}],
            "percent": percent,
        }
        self.one = signing.start(repo, signers, "stable", plan, now_utc=self.begin)
        self._ids = itertools.count()

    def post(self, path, body, network=0):
        """Send JSON from a network of its own."""
        address = {"REMOTE_ADDR": f"10.{network // 250}.{network % 250}.1"}
        return self.app.test_client().post(path, json=body, environ_overrides=address)

    def phone(self, n, arm, fallbacks):
        """Upload an exposure and ten slates of a new install."""
        ts = self.begin + 3600 + n
        context = {"arm": arm, "salt": self.one.salt[:8]}
        events = [self._event("exposure", NAME, ts, context)]
        for k in range(10):
            source = "fallback" if k < fallbacks else "model"
            events.append(self._event("request", "home", ts + k, {"source": source, "ms": 9.5}))
        install = f"{n:032x}"
        body = {"schema": 1, "batch": str(uuid.uuid4()), "install_id": install, "consent": True}
        for _ in range(2):  # the answer to the first was lost
            answer = self.post("/v1/events", body | {"events": events}, n)
            assert (answer.status_code, answer.json["accepted"]) == (200, 11), answer.json

    def _event(self, kind, event, ts, context):
        made = {"id": f"event-{next(self._ids):08d}", "kind": kind, "item_id": "", "event": event}
        return made | {"ts": ts, "context": context}

    def send(self, sums):
        """Upload sums: the HTTP status, and whether they were stored."""
        answer = self.post("/v1/sums", json.loads(sums.to_bytes()))
        return answer.status_code, answer.json.get("stored")

    def count(self, table, *where):
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table).where(*where))

    def sums(self, n):
        with self.engine.connect() as connection:
            query = select(EXPERIMENT_SUMS).where(EXPERIMENT_SUMS.c.id == f"{n:032x}")
            return connection.execute(query).one_or_none()

    def close(self):
        self.engine.dispose()
        with self.app.app_context():
            services().engine.dispose()

    @property
    def run(self):
        return Run(channel="stable", experiment=self.one.id, salt=self.one.salt)


@pytest.fixture
def server(founded, empty_url):
    repo, signers = founded
    made = Server(repo, signers, empty_url)
    yield made
    made.close()


def test_a_guardrail_halts_an_arm_and_its_rows_go_with_the_experiment(server, tmp_path):
    for n in range(PHONES):
        arm = ARMS[n % 2]
        server.phone(n, arm, fallbacks=5 if arm == ARMS[1] else n % 3 == 0)
    assert server.count(EXPOSED) == PHONES
    assert server.count(EVENT, EVENT.c.kind == "request") == 10 * PHONES
    scraped = server.app.test_client().get("/metrics").text
    labels = f'arm="{ARMS[1]}",channel="stable",experiment="{NAME}"'
    assert f"pocketrec_experiment_devices{{{labels}}} 60.0" in scraped

    def look():
        return guard.once(server.repo, server.engine, server.signers, server.now)

    with ThreadPoolExecutor(4) as threads:  # as four servers of one database
        claims = list(threads.map(lambda _: looks.claim(server.engine, "x", 1, 0), range(4)))
    assert sorted(claims) == [False, False, False, True]
    (found,) = look()
    assert look() == []
    (halted,) = read_halted_arms(server.repo, "stable").halted
    assert (found.arm, found.day, halted.arm) == (ARMS[1], 5, ARMS[1])
    subject = guard.subject_of("stable", server.one)
    (stored,) = looks.looks(server.engine, subject)
    assert stored.broken == 1 and stored.halted_utc == server.now and stored.z > stored.bound

    where = ["--repo", str(server.repo), "--channel", "stable", "--database", server.url]
    shown = CliRunner().invoke(main, ["experiment", "status", *where])
    assert f"{NAME}: {looks.text_of(stored)}" in shown.stdout, shown.output

    exported = export_events(server.engine, tmp_path / "events")
    assert (exported.requests, exported.exposures) == (10 * PHONES, PHONES)
    paths = (tmp_path / "events" / "exposures").rglob("*.parquet")
    tables = [pq.read_table(path, partitioning=None) for path in paths]
    assert sum(table.num_rows for table in tables) == PHONES
    erased = server.app.test_client().delete(f"/v1/installs/{1:032x}")
    assert erased.json == {"erased": 11}
    assert (server.count(EXPOSED), server.count(EVENT)) == (PHONES - 1, 11 * (PHONES - 1))
    assert export_events(server.engine, tmp_path / "events").exposures == PHONES - 1

    ended = server.one.until_utc + 1
    guard.once(server.repo, server.engine, server.signers, ended)
    assert [server.count(each) for each in (EXPOSED, GUARD_DAY, GUARD_LOOK)] == [0, 0, 0]
    assert server.count(EVENT) == 11 * (PHONES - 1)


def test_after_a_restore_no_arm_is_halted_or_judged_on_lost_networks(founded, tmp_path):
    """A backup has no networks (docs/decisions/0033), so the next look finds too few."""
    repo, signers = founded
    first = Server(repo, signers, default_url(repo), percent=50)
    for n in range(PHONES):
        first.phone(n, ARMS[n % 2], fallbacks=int(n % 3 == 0))
    assert guard.once(repo, first.engine, signers, first.now) == []
    subject = guard.subject_of("stable", first.one)
    (before,) = looks.looks(first.engine, subject)
    seal.make_backup_key(tmp_path / "key")
    back_up(repo, first.engine, tmp_path / "b.tar", tmp_path / "key" / "backup.pem")
    first.close()

    back = tmp_path / "back"
    restore(tmp_path / "b.tar", back, tmp_path / "key" / "backup.pub")
    engine = open_database(default_url(back))
    assert looks.looks(engine, subject) == [before]
    upload = Upload(install_id="f" * 32, batch=None, events=[])
    ingest.store(engine, upload, now=first.now)  # the restored server goes on
    assert guard.once(back, engine, signers, first.now + DAY_S) == []
    assert read_halted_arms(back, "stable").halted == ()
    assert looks.looks(engine, subject) == [before]
    (text,) = guard.not_looked_texts(engine, "stable", first.one)
    assert text.startswith(f"{ARMS[1]}, day 6: no look at fallback_share: fewer than 50 networks")
    engine.dispose()

    run = CliRunner().invoke
    where = ["--repo", str(back), "--channel", "stable"]
    shown = run(main, ["experiment", "status", *where])
    assert shown.exit_code == 0 and f"{NAME}: {text}" in shown.stdout, shown.output
    words = ["experiment", "advance", NAME, "--steps", "50,100", "--networks", "50"]
    waits = run(main, [*words, "--days", "0", *where, "--keys", str(tmp_path / "keys")])
    assert waits.exit_code == 0, waits.output
    assert "not compared yet: too few networks" in waits.output


@pytest.mark.parametrize("odd", ["\ud800", "\0", "\U0001f600", "x" * 65])
def test_odd_texts_of_an_exposure_are_stored_or_rejected_and_fail_no_upload(server, odd):
    context = {"arm": odd, "salt": server.one.salt[:8]}
    events = [server._event("exposure", name, server.begin + 9, context) for name in (NAME, odd)]
    body = {"install_id": "f" * 32, "consent": True, "events": events}
    answer = server.post("/v1/events", body)
    if odd == "\ud800":  # no UTF-8 text has it
        assert (answer.status_code, server.count(EVENT)) == (400, 0)
        return
    assert answer.status_code == 200
    taken = server.count(EVENT)
    assert len(answer.json["rejected"]) == 2 - taken == len(events) - len(answer.json["accepted"])
    assert server.count(EXPOSED) == 0
    assert server.app.test_client().get("/metrics").status_code == 200


def test_sums_are_stored_released_once_erased_and_forgotten(server, tmp_path):
    for n in range(PHONES):
        assert server.send(sums_of(server.one, n)) == (200, True)
    assert server.send(sums_of(server.one, 1)) == (200, False)  # a repeated body
    first = export_sums(server.engine, tmp_path / "sums", now=server.now, epsilon=1.0)
    assert (first.experiments, first.written, first.hidden) == (1, 1, 0)
    (path,) = (tmp_path / "sums").rglob("day=*.json")
    noisy = json.loads(path.read_text())
    assert noisy["epsilon"] == 1.0 and noisy["arms"][ARMS[0]]["devices"] == PHONES // 2
    again = export_sums(server.engine, tmp_path / "sums", now=server.now + 1, epsilon=2.0)
    assert (again.written, again.kept, again.other_settings) == (0, 1, 1)

    words = ["events", "export-sums", "--database", server.url, "--out", str(tmp_path / "cli")]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert json.loads(done.stdout)["written"] == 1, done.output
    (same,) = (tmp_path / "cli").rglob("day=*.json")
    assert same.read_bytes() == path.read_bytes()

    assert server.app.test_client().delete(f"/v1/sums/{1:032x}").json == {"erased": 1}
    assert server.sums(1) is None and server.sums(3) is not None
    tomorrow = release(server.engine, server.run, now=server.now + DAY_S)
    assert tomorrow["arms"][ARMS[1]]["devices"] == PHONES // 2 - 1
    assert server.count(SUMS_RELEASE) == 2

    late = server.one.until_utc + store.KEPT_DAYS * DAY_S
    assert store.forget_old(server.engine, late) == 0
    assert store.forget_old(server.engine, late + 1) == PHONES - 1
    assert server.count(EXPERIMENT_SUMS) == 0


def test_bodies_of_a_device_that_cross_leave_the_newest(server):
    order = (3, 8, 1, 6, 2, 7, 5, 4)
    bodies = [sums_of(server.one, 7, seq=seq, clicks=seq) for seq in order]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(server.send, bodies))
    assert {status for status, _ in answers} == {200}
    row = server.sums(7)
    assert row.seq == 8 and json.loads(row.body)["sums"]["clicks"] == 8
    moved = {**json.loads(bodies[0].to_bytes()), "arm": ARMS[0], "seq": 9}
    assert server.post("/v1/sums", moved).status_code == 409
    assert server.sums(7).arm == ARMS[1]


def test_servers_that_release_a_day_at_once_show_the_same_noise(server):
    for n in range(PHONES):
        store.store(
            server.engine,
            sums_of(server.one, n),
            server.one.until_utc,
            UPLOADS,
            server.now,
            "network",
        )
    with ThreadPoolExecutor(4) as threads:
        made = list(
            threads.map(
                lambda _: release(server.engine, server.run, now=server.now, epsilon=1.0), range(4)
            )
        )
    assert all(each == made[0] for each in made) and server.count(SUMS_RELEASE) == 1


def test_expired_rows_go_without_keys_and_without_an_upload(server, monkeypatch):
    """The server has no keys, so nobody looks at guardrails; phones send nothing any more."""
    server.phone(1, ARMS[0], fallbacks=0)
    assert server.send(sums_of(server.one, 1)) == (200, True)
    client = server.app.test_client()
    kept = server.one.until_utc + store.KEPT_DAYS * DAY_S
    for now, left in (
        (server.now + 2, (1, 1)),
        (server.one.until_utc + 1, (0, 1)),
        (kept - 1, (0, 1)),
        (kept + DAY_S, (0, 0)),
    ):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert client.get("/metrics").status_code == 200
        assert (server.count(EXPOSED), server.count(EXPERIMENT_SUMS)) == left
    monkeypatch.undo()


def test_a_failed_deletion_is_logged_and_fails_no_request(server, monkeypatch, caplog):
    with writing(server.engine) as connection:
        connection.execute(text("ALTER TABLE experiment_sums RENAME TO elsewhere"))
    client = server.app.test_client()
    assert client.get("/healthz").status_code == 200
    assert caplog.text == ""  # requests that need no database do not wait for it
    assert client.get("/metrics").status_code == 200
    assert "rows that have expired were not deleted" in caplog.text
    with writing(server.engine) as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO experiment_sums"))
