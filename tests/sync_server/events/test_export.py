"""Exports of what devices sent, and the loop closed: `pocketrec data` reads what they did."""

import fcntl
import hashlib
import json
import random
import re
import shutil
import signal
import tomllib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from benchmarks.support.kill_steps import forked
from pocketrec.cli import main
from pocketrec_bundle.errors import InputError, PocketRecError
from pocketrec_edge.events.event import Event
from pocketrec_edge.events.install_id import install_id
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.sync.http import Network
from pocketrec_edge.sync.sync_log import SyncLog
from pocketrec_edge.sync.transfer import RETRY
from pocketrec_edge.sync.uploads.events import send_events
from pocketrec_server.events.erasure import erase
from pocketrec_server.events.export import ExportReport, export_events, pseudonym
from pocketrec_server.events.export_tables import TABLES
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.events.validation import checked
from pocketrec_server.storage.database import open_database, writing
from pocketrec_server.storage.tables import SETTING
from pocketrec_training.data.ingest import build_tables
from pocketrec_training.recipe.load import parse_recipe

DAY_S = 86_400
FORMAT_1 = ["user_id", "item_id", "event", "value", "timestamp", "context"]
DAY_19_000 = 19_000 * DAY_S  # 2022-01-08


def event(n, day=0, **other):
    base = {"id": f"event-{n}", "kind": "interaction", "item_id": f"i{n}", "event": "like"}
    return base | {"value": n / 4, "ts": DAY_19_000 + day * DAY_S + n, "context": {"n": n}} | other


def send(engine, events, install="install-1"):
    return store(engine, Upload(install_id=install, batch=str(uuid.uuid4()), events=events))


def files(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture
def salted(engine):
    """A database whose salt is known."""
    with writing(engine) as connection:
        connection.execute(update(SETTING).values(value="00" * 32))
    return engine


def test_a_day_is_a_file_with_rows_by_time_and_ids_hashed(salted, tmp_path):
    shown = event(7, kind="impression", event="shown", value=None)
    send(salted, [event(3), event(2), shown, event(1, day=1)])
    send(salted, [event(3, item_id="other")], "install-2")
    done = export_events(salted, tmp_path / "out")
    assert done == ExportReport(
        days_written=2, days_kept=0, interactions=4, impressions=1, requests=0, exposures=0
    )
    assert sorted(name for name in files(tmp_path / "out") if "parquet" in name) == [
        "impressions/day=2022-01-08/events.parquet",
        "interactions/day=2022-01-08/events.parquet",
        "interactions/day=2022-01-09/events.parquet",
    ]
    path = tmp_path / "out" / "interactions" / "day=2022-01-08" / "events.parquet"
    one, two = (pseudonym(bytes(32), name) for name in ("install-1", "install-2"))
    # HMAC-SHA256 of "install-1" under 32 zero bytes, by another tool: openssl dgst -mac HMAC.
    assert one == "c8b638bdac53736530d04653e9652f85"
    table = pq.read_table(path, partitioning=None)
    assert table.column_names[:6] == FORMAT_1
    rows = [tuple(row.values()) for row in table.select(FORMAT_1).to_pylist()]
    assert table["ts"].to_pylist() == table["timestamp"].to_pylist()
    first, *same = rows
    assert first == (one, "i2", "like", 0.5, DAY_19_000 + 2, '{"n":2}')
    assert sorted(same) == sorted(
        [
            (one, "i3", "like", 0.75, DAY_19_000 + 3, '{"n":3}'),
            (two, "other", "like", 0.75, DAY_19_000 + 3, '{"n":3}'),
        ]
    )


def test_numbers_larger_than_a_double_holds_exactly_are_exported(engine, tmp_path):
    shown = event(1, kind="impression", value=None, context={"score": 2**53 + 1})
    asked = event(2, kind="request", value=None, id="request-2", item_id="")
    send(engine, [shown, asked | {"context": {"ms": 2**60 + 1, "k": 2**60}}])
    done = export_events(engine, tmp_path / "out")
    assert (done.impressions, done.requests) == (1, 1)
    day = "day=2022-01-08/events.parquet"
    (row,) = pq.read_table(tmp_path / "out" / "impressions" / day, partitioning=None).to_pylist()
    assert row["score"] == float(2**53)
    (row,) = pq.read_table(tmp_path / "out" / "requests" / day, partitioning=None).to_pylist()
    assert (row["ms"], row["k"], row["context"]) == (float(2**60), None, f'{{"k":{2**60}}}')


_NAMES = sorted(
    {column.name for table in TABLES for column in table.columns}
    | {"request", "session", "release", "source", "paging", "arms", "faults", "arm", "salt"}
)
_NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.text('aZ0-"\0é漢😀')
_VALUES = _SCALARS | st.lists(_SCALARS, max_size=3) | st.dictionaries(st.text("ab"), _SCALARS)


@given(context=st.dictionaries(st.sampled_from(_NAMES), _VALUES))
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_every_context_that_an_upload_may_have_fits_the_columns(table, context):
    without = "" if table.kind in ("request", "exposure") else "i"
    sent = event(1, kind=table.kind, id="request-1", item_id=without, value=None, context=context)
    for row in checked([sent])[0]:
        values = table.values(row) | {"user_id": "u"}
        made = pa.table({key: [value] for key, value in values.items()}, schema=table.schema())
        assert made.num_rows == 1


def test_equal_events_give_equal_bytes_in_whatever_order_they_came(salted, tmp_path):
    events = [event(n, day=n % 3) for n in range(60)]
    send(salted, events)
    export_events(salted, tmp_path / "one")
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with writing(other) as connection:
        connection.execute(update(SETTING).values(value="00" * 32))
    random.Random(1).shuffle(events)  # noqa: S311
    for at in range(0, 60, 7):
        send(other, events[at : at + 7])
        export_events(other, tmp_path / "two")
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    for found in (one, two):
        del found["export.json"]  # it counts the changes
    assert one == two


def test_only_days_that_changed_are_written_again(engine, tmp_path):
    out = tmp_path / "out"
    send(engine, [event(n, day=n) for n in range(4)])
    assert export_events(engine, out, first=19_001, last=19_002).days_written == 2
    assert export_events(engine, out).days_written == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    send(engine, [event(9, day=2)])
    send(engine, [event(9, day=2)])
    done = export_events(engine, out)
    assert (done.days_written, done.days_kept, done.interactions) == (1, 3, 2)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    changed = [path.parent.name for path in before if before[path] != after[path]]
    assert changed == ["day=2022-01-10"]


def test_what_was_erased_leaves_the_export_with_the_next_one(engine, tmp_path):
    out = tmp_path / "out"
    send(engine, [event(1), event(2, day=1)])
    send(engine, [event(3)], "install-2")
    export_events(engine, out)
    assert erase(engine, "install-1") == 2
    assert export_events(engine, out).interactions == 1
    assert [path.parent.name for path in out.rglob("*.parquet")] == ["day=2022-01-08"]
    assert b"i2" not in b"".join(files(out).values())


def test_another_database_other_ids_and_a_second_writer_are_refused(engine, tmp_path):
    out = tmp_path / "out"
    send(engine, [event(1)])
    export_events(engine, out, raw_ids=True)
    with pytest.raises(InputError, match="another database, or other ids"):
        export_events(engine, out)
    assert pq.read_table(next(out.rglob("*.parquet")))["user_id"].to_pylist() == ["install-1"]
    with (out / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another export"):
            export_events(engine, out, raw_ids=True)
    (out / "export.json").write_bytes(b"{}")
    with pytest.raises(InputError, match="damaged"):
        export_events(engine, out, raw_ids=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PocketRecError, match="file"):
        export_events(engine, tmp_path / "file" / "out")


def write_format_1(engine, out, days):
    """Write a folder as version 0.1 did: six columns, interactions and impressions."""
    with engine.connect() as connection:
        salt = connection.scalar(SETTING.select().with_only_columns(SETTING.c.value))
    types = [pa.string(), pa.string(), pa.string(), pa.float64(), pa.int64(), pa.string()]
    schema = pa.schema(list(zip(FORMAT_1, types, strict=True)))
    for day in days:
        for folder in ("interactions", "impressions"):
            path = out / folder / f"day={day}" / "events.parquet"
            path.parent.mkdir(parents=True)
            row = ["u", "old item", "like", 1.0, DAY_19_000, "{}"]
            pq.write_table(pa.table([[value] for value in row], schema=schema), path)
    ids = hashlib.sha256(bytes.fromhex(salt)).hexdigest()[:16]
    state = {"format": 1, "ids": ids, "days": dict.fromkeys(days, 1)}
    (out / "export.json").write_text(json.dumps(state))


def columns(out):
    """Number of columns of each exported file."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": len(pq.read_schema(path))
        for path in out.rglob("*.parquet")
    }


def test_a_folder_of_format_1_is_continued_and_none_of_its_columns_stay(engine, tmp_path):
    out = tmp_path / "out"
    days = ["2022-01-08", "2022-01-09", "2022-01-10"]
    send(engine, [event(n, day=n) for n in range(3)])
    write_format_1(engine, out, days)
    # All its days are written again, whatever the range: a table has one set of columns.
    done = export_events(engine, out, first=19_001, last=19_001)
    assert (done.days_written, done.interactions, done.impressions) == (3, 3, 0)
    assert columns(out) == {f"interactions/day={day}": 11 for day in days}
    assert b"old item" not in b"".join(files(out).values())
    assert json.loads((out / "export.json").read_bytes())["format"] == 2
    assert export_events(engine, out) == ExportReport(
        days_written=0, days_kept=3, interactions=0, impressions=0, requests=0, exposures=0
    )


def test_a_continued_folder_that_was_killed_is_finished_by_the_next_export(tmp_path):
    url = f"sqlite:///{tmp_path / 'server.sqlite'}"
    engine = open_database(url)
    send(engine, [event(n, day=n) for n in range(3)])
    out = tmp_path / "out"
    killed = 0
    for n in range(0, 200, 3):
        shutil.rmtree(out, ignore_errors=True)
        write_format_1(engine, out, ["2022-01-08", "2022-01-09", "2022-01-10"])
        engine.dispose()
        code = forked(lambda: export_events(open_database(url), out), n)
        export_events(open_database(url), out, first=19_002, last=19_002)
        assert set(columns(out).values()) == {11} and len(columns(out)) == 3
        if code == 0:
            break
        killed += 1
    assert code == 0 and killed > 3


def test_a_folder_of_a_newer_version_is_refused(engine, tmp_path):
    out = tmp_path / "out"
    send(engine, [event(1)])
    export_events(engine, out)
    state = json.loads((out / "export.json").read_bytes())
    (out / "export.json").write_text(json.dumps(state | {"format": 3}))
    with pytest.raises(InputError, match=r"format 3, and this version writes 2\. Update PocketRec"):
        export_events(engine, out)


def test_values_of_the_wrong_form_are_null_and_stay_in_the_context(engine, tmp_path):
    """Devices send what they like: a column has its type or null, and nothing is lost."""
    odd = {"place": "1", "score": True, "propensity": 1.5, "source": "", "session": 7, "x": [1]}
    tap = {"request": "a b", "place": 0, "session": ["s"], "currency": "pounds"}
    asked = {"k": -1, "ms": "fast", "page": 2**40, "faults": "none", "release": None}
    base = {"ts": DAY_19_000, "value": None}
    send(
        engine,
        [
            event(1, kind="impression", context=odd, **base),
            event(2, context=tap, **base),
            event(3, id="r" * 22, kind="request", item_id="", context=asked, **base),
            event(4, id="r" * 22 + ".12", kind="impression", context={"place": 3}, **base),
        ],
    )
    export_events(engine, tmp_path / "out")

    def rows(folder):
        (path,) = (tmp_path / "out" / folder).rglob("*.parquet")
        return pq.read_table(path, partitioning=None).to_pylist()

    bad, placed = rows("impressions")
    assert json.loads(bad.pop("context")) == odd
    assert {name for name, value in bad.items() if value is not None} == {
        *("user_id", "item_id", "ts")
    }
    assert (placed["request_id"], placed["place"]) == ("r" * 22, 12)  # of its id
    (acted,) = rows("interactions")
    assert json.loads(acted.pop("context")) == tap
    assert [acted[name] for name in ("request_id", "place", "session_id", "currency")] == [None] * 4
    (request,) = rows("requests")
    assert json.loads(request.pop("context")) == asked
    assert (request["k"], request["ms"], request["page"], request["release"]) == (None,) * 4
    assert (request["arms"], request["faults"], request["scene"]) == ([], [], "like")


@pytest.mark.parametrize(
    ("column", "stored", "found"),
    [
        ("context", '{"sponsored":"\\ud800"}', "surrogates not allowed"),
        ("context", "[]", "no attribute|indices"),
        ("context", "{", "Expecting property name"),
        ("value", "much", "much"),
        ("item_id", b"\xff\xfe", "utf-?8|UTF8"),
    ],
)
def test_a_stored_event_that_does_not_fit_is_named_and_nothing_is_half_written(
    engine, tmp_path, column, stored, found
):
    """No upload stores it; a database that was changed by hand or is damaged may have it."""
    if engine.dialect.name != "sqlite" and column != "context":
        pytest.skip("its columns have types")
    out = tmp_path / "out"
    shown = [event(n, kind="impression", value=None, context={}) for n in range(7)]
    taps = [event(n + 10) for n in range(5)]
    send(engine, [*shown, *taps])
    export_events(engine, out)
    before = files(out)
    send(engine, [event(30), event(31, kind="impression", value=None)], install="install-2")
    kind = "interaction" if column == "value" else "impression"
    with writing(engine) as connection:
        name = "event-11" if kind == "interaction" else "event-5"
        connection.execute(
            text(f"UPDATE event SET {column} = :stored WHERE id = :name"),  # noqa: S608
            {"stored": stored, "name": name},
        )
    with pytest.raises(PocketRecError, match=f"{kind}s: event {name} of install install-1") as e:
        export_events(engine, out)
    assert re.search(found, str(e.value)) and "events erase --install-id install-1" in str(e.value)
    assert files(out) == before
    erase(engine, "install-1")
    done = export_events(engine, out)
    assert (done.interactions, done.impressions) == (1, 1)


def test_killed_at_any_step_the_next_export_is_the_whole_one(tmp_path):
    url = f"sqlite:///{tmp_path / 'server.sqlite'}"
    engine = open_database(url)
    events = [event(n, day=n % 2) for n in range(6)]
    send(engine, [*events, event(7, kind="impression")])
    export_events(engine, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    engine.dispose()
    out = tmp_path / "out"
    for n in range(0, 100, 2):
        shutil.rmtree(out, ignore_errors=True)
        code = forked(lambda: export_events(open_database(url), out), n)
        for path in out.rglob("*.parquet"):
            assert path.read_bytes() == whole[str(path.relative_to(out))]
        export_events(open_database(url), out)
        assert files(out) == whole
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert n > 10


def test_by_the_commands(tmp_path, runner):
    def run(*words):
        done = runner.invoke(main, ["events", *words, "--db", url, "--json"])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    url = f"sqlite:///{tmp_path / 'server.sqlite'}"
    engine = open_database(url)
    send(engine, [event(1), event(2, day=1), 7])
    assert run("stats") == {
        "installs": 1,
        "active": 1,
        "new": 1,
        "events": 2,
        "days": {"2022-01-08": 1, "2022-01-09": 1},
        "rejected": {"not an object": 1},
    }
    words = ["export", "--out", str(tmp_path / "out"), "--from", "2022-01-09", "--to", "2022-01-09"]
    assert run(*words)["days_written"] == 1
    refused = runner.invoke(main, ["events", "erase", "--db", url, "--install-id", "install-1"])
    assert (refused.exit_code, "Add --yes" in refused.stderr) == (2, True)
    assert run("erase", "--install-id", "install-1", "--yes") == {"erased": 2}
    assert run("stats")["events"] == 0
    assert runner.invoke(main, ["events", "stats"]).exit_code == 2
    assert runner.invoke(main, ["events", "stats", "--repo", str(tmp_path / "no")]).exit_code == 2
    done = runner.invoke(main, ["db", "status", "--db", url, "--json"])
    assert json.loads(done.stdout) == {"dialect": "sqlite", "pending": []}
    done = runner.invoke(main, ["db", "upgrade", "--db", url])
    assert done.stdout == "nothing to do\n"
    missing = f"sqlite:///{tmp_path / 'other.sqlite'}"
    for words in (["events", "stats"], ["db", "status"], ["db", "upgrade"]):
        done = runner.invoke(main, [*words, "--db", missing])
        assert (done.exit_code, "no such database" in done.stderr) == (2, True)
    assert not (tmp_path / "other.sqlite").exists()
    done = runner.invoke(main, ["db", "status", "--db", "nonsense"])
    assert (done.exit_code, "not a database URL" in done.stderr) == (1, True)


RECIPE = {
    "name": "loop",
    "data": {"interactions": "interactions"},
    "columns": {"event": "event", "value": "value"},
    "events": {"default": "view", "types": ["view", "like", "buy"]},
}


def test_the_loop_closes(tmp_path, start_server, tiny_repo):
    """Phones -> uploads -> database -> export -> `pocketrec data`: equal to what was done."""
    url, _ = start_server(tiny_repo)
    draw = random.Random(7)  # noqa: S311
    did = set()
    for n in range(4):
        home = tmp_path / f"phone-{n}"
        log = EventLog(home / "events.sqlite")
        log.set_consent(True)
        events = [
            Event(
                id=str(uuid.UUID(int=draw.getrandbits(128))),
                kind=draw.choice(["interaction", "interaction", "impression"]),
                item_id=draw.choice(["a", "b", "ä c", "'d\"", "e,\n"]),
                event=draw.choice(["view", "like", "buy"]),
                value=draw.choice([None, 1.0, 0.1, -2.5e-7, 1e18 + 1]),
                ts=1_700_000_000 + draw.randrange(4 * DAY_S),
                context={"place": draw.randrange(9)},
            )
            for _ in range(600)
        ]
        log.append_many(events)
        with SyncLog(PhoneHome(home), None) as opened:
            sent = send_events(opened, url, Network(), RETRY)
        assert (sent.sent, sent.fault) == (600, None)
        did |= {
            (install_id(PhoneHome(home)), e.item_id.strip(), e.event, e.value, e.ts)
            for e in events
            if e.kind == "interaction"
        }
    engine = open_database(f"sqlite:///{tiny_repo / 'server.sqlite'}")
    export_events(engine, tmp_path / "exported")
    recipe = parse_recipe(RECIPE, "loop.toml")
    report = build_tables(recipe, tmp_path / "data", tmp_path / "exported")
    rows = pq.read_table(tmp_path / "data" / "interactions.parquet").to_pylist()
    with engine.connect() as connection:
        value = connection.scalar(SETTING.select().with_only_columns(SETTING.c.value))
    assert value is not None
    salt = bytes.fromhex(value)
    names = {pseudonym(salt, install): install for install, *_ in did}
    found = [(names[r["user_id"]], r["item_id"], r["event"], r["value"], r["ts"]) for r in rows]
    assert len(found) == len(did) == report.interactions
    assert set(found) == did
    assert (report.users, report.quarantined) == (4, 0)


def test_init_reads_the_exported_interactions_without_a_question(tmp_path, runner):
    url = f"sqlite:///{tmp_path / 'server.sqlite'}"
    engine = open_database(url)
    for user in range(30):
        events = []
        for n in range(20):
            request = f"{user:011}{n:011}"
            context = {"request": request, "place": n % 5 + 1, "session": f"s{user}-{n // 4}"}
            bought = n % 4 == 3
            context |= {"currency": "GBP"} if bought else {}
            made = event(n, day=n, id=f"tap-{n}", item_id=f"i{(user * 7 + n * 3) % 40}")
            made |= {
                "event": "purchase" if bought else "view",
                "value": 9.5 + n if bought else None,
            }
            asked = {"id": request, "kind": "request", "item_id": "", "event": "home"}
            events += [made | {"context": context}, made | asked | {"value": None, "context": {}}]
        send(engine, events, f"install-{user}")
    export_events(engine, tmp_path / "out")
    recipe = tmp_path / "shop.toml"
    words = ["init", str(tmp_path / "out" / "interactions"), "--out", str(recipe)]
    done = runner.invoke(main, words)
    assert done.exit_code == 0, done.output
    written = tomllib.loads(recipe.read_text())
    columns = written["columns"]
    assert columns.pop("value", "value") == "value"
    assert columns == {
        "user": "user_id",
        "item": "item_id",
        "timestamp": "timestamp",
        "event": "event",
    }
    assert written["events"]["types"] == ["view", "purchase"]
    words = ["data", str(recipe), "--out", str(tmp_path / "data")]
    done = runner.invoke(main, words)
    assert done.exit_code == 0, done.output
    assert pq.read_table(tmp_path / "data" / "interactions.parquet").num_rows == 30 * 20
