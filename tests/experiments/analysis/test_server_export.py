"""From what devices upload, through the server's database and export, to the report."""

import uuid

import pyarrow as pa
import pytest

pytest.importorskip("sqlalchemy", reason="needs the server extra")

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Settings, experiment_report
from pocketrec_experiments.analysis.tables import COLUMNS, SEGMENT_COLUMNS
from pocketrec_server.events.export import export_events
from pocketrec_server.events.export_tables import TABLES
from pocketrec_server.events.ingest import store
from pocketrec_server.events.uploads import Upload
from pocketrec_server.storage.database import open_database

ARMS = ("control", "treatment")
FEW = Settings(least_users=2, metric="ctr")


def wire(kind, event, at, *, name=None, item="", value=None, **context):
    """One event as a device sends it."""
    return {
        "id": name or uuid.uuid4().hex,
        "kind": kind,
        "item_id": item,
        "event": event,
        "value": value,
        "ts": START_UTC + at,
        "context": context,
    }


def visit(user: int, day: int) -> list[dict]:
    """A slate of two items with a click and, for every third user, a purchase."""
    request = f"{user:04}-{day:04}-abcdefghijkl"
    at = day * DAY_S + 3600 + user
    facts = {"release": "0123456789abcdef", "source": "model", "k": 2, "ms": 10.0 + user}
    found = [
        wire("request", "home", at, name=request, session=f"s{day}", **facts),
        *(
            wire("impression", "shown", at, name=f"{request}.{place}", item=item, propensity=1.0)
            for place, item in ((1, "a"), (2, "b"))
        ),
        wire(
            "interaction", "click", at + 30, item="a", request=request, place=1, session=f"s{day}"
        ),
    ]
    if user % 3 == 0:
        context = {"request": request, "place": 1, "session": f"s{day}", "currency": "GBP"}
        found.append(wire("interaction", "purchase", at + 90, item="a", value=5.0, **context))
    return found


@pytest.fixture
def engine(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'server.sqlite'}")
    yield engine
    engine.dispose()


def upload(engine, user: int, events: list[dict], batch: str | None = None) -> None:
    batch = batch or str(uuid.uuid4())
    store(engine, Upload(install_id=f"install-{user}", batch=batch, events=events))


def exposure(user: int, at: int = 3600, **more) -> dict:
    context = {"arm": ARMS[user % 2], "salt": SALT[:8], "app_version": "2.1"} | more
    return wire("exposure", EXPERIMENT, at, **context)


def test_uploads_become_a_report_and_double_and_late_ones_count_once(engine, tmp_path, design_of):
    for user in range(12):
        events = [exposure(user), *visit(user, 0)]
        batch = str(uuid.uuid4())
        upload(engine, user, events, batch)
        upload(engine, user, events, batch)  # the answer was lost, the device sends it again
        upload(engine, user, events[:3])  # and some of it in another batch
    folder = tmp_path / "events"
    export_events(engine, folder)
    first = experiment_report(design=design_of(), events=folder, settings=FEW)
    assert first.days == 1
    for arm in first.arms:
        assert (arm.users, arm.requests, arm.impressions, arm.clicks) == (6, 6, 12, 6)
        assert (arm.buyers, arm.revenue, arm.sessions) == (2, 10.0, 6)
    assert first.currency == "GBP"
    for user in range(12):
        upload(engine, user, visit(user, 1))
    upload(engine, 0, visit(0, 0))  # late, of the first day: a second slate of the same request id
    export_events(engine, folder)
    later = experiment_report(design=design_of(), events=folder, settings=FEW)
    assert later.days == 2
    assert [arm.requests for arm in later.arms] == [12, 12]


def test_a_forced_device_of_an_upload_is_left_out(engine, tmp_path, design_of):
    for user in range(4):
        upload(engine, user, [exposure(user), *visit(user, 0)])
    upload(engine, 4, [exposure(4, forced=True), *visit(4, 0)])
    export_events(engine, tmp_path / "events")
    report = experiment_report(design=design_of(), events=tmp_path / "events", settings=FEW)
    assert [arm.users for arm in report.arms] == [2, 2]
    assert any("1 users with a forced arm" in note for note in report.notes)


def test_an_app_installed_again_is_another_user(engine, tmp_path, design_of):
    for user in range(4):
        upload(engine, user, [exposure(user), *visit(user, 0)])
    again = [exposure(0, at=9000, arm="treatment"), *visit(0, 2)]
    upload(engine, 99, again)  # user 0 has a new install id, and drew another arm
    export_events(engine, tmp_path / "events")
    report = experiment_report(design=design_of(), events=tmp_path / "events", settings=FEW)
    assert [arm.users for arm in report.arms] == [2, 3]
    assert any("installs the app again is a new device" in note for note in report.notes)


def test_columns_that_the_analysis_reads_are_those_of_the_export():
    exported = {table.folder: table.schema() for table in TABLES}
    types = {"array<string>": pa.list_(pa.string()), "boolean": pa.bool_(), "float64": pa.float64()}
    types |= {"string": pa.string(), "int64": pa.int64()}
    for kind, columns in COLUMNS.items():
        found = {name: exported[kind].field(name).type for name in columns}
        assert found == {name: types[of] for name, of in columns.items()}
    assert set(SEGMENT_COLUMNS) <= set(exported["exposures"].names)
