"""Metrics of releases, slates, the database and processes, as Prometheus reads them."""

import json
import platform
import re
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from pocketrec_bundle.settings.rollout import PAUSED
from pocketrec_edge.answers import Source
from pocketrec_edge.faults import FaultCode
from pocketrec_server.app import create_app
from pocketrec_server.copies.backup import back_up
from pocketrec_server.copies.seal import make_backup_key
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halt_arm
from pocketrec_server.halting.outcomes import KINDS
from pocketrec_server.monitoring import slates
from pocketrec_server.monitoring.fleet import STATES, label_of
from pocketrec_server.monitoring.stored import Stored
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt, publish, read_policy
from pocketrec_server.repository.rollout import changed
from pocketrec_server.repository.standing import STANDINGS
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database
from pocketrec_server.storage.tables import INSTALL


@pytest.fixture
def client(tiny_repo):
    return create_app(Settings(repo=tiny_repo, log_requests=False)).test_client()


def scraped(client):
    """(name, labels) -> value of every sample."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def value(client, name, /, **labels):
    return scraped(client)[name, tuple(sorted(labels.items()))]


def report(client, manifest, *kinds):
    rows = [
        {"id": f"{n:032x}", "manifest": manifest, "outcome": kind} for n, kind in enumerate(kinds)
    ]
    body = {"consent": True, "channel": "stable", "outcomes": rows}
    return client.post("/v1/outcomes", data=json.dumps(body), content_type="application/json")


def state_of(client, manifest):
    release = label_of(manifest)
    found = {
        dict(labels)["state"]: number
        for (name, labels), number in scraped(client).items()
        if name == "pocketrec_release_state" and dict(labels)["release"] == release
    }
    assert set(found) == set(STATES.values()) and sum(found.values()) == 1
    return max(found, key=found.__getitem__)


def test_outcomes_have_channel_release_and_kind(client, tiny_repo):
    stage = read_policy(tiny_repo, "stable").releases[0]
    key = {"channel": "stable", "release": label_of(stage.manifest)}
    assert value(client, "pocketrec_outcomes_total", **key, kind="reverted") == 0
    report(client, stage.manifest, "installed", "installed", "reverted", "unheard-of")
    assert value(client, "pocketrec_outcomes_total", **key, kind="installed") == 2
    assert value(client, "pocketrec_outcomes_total", **key, kind="reverted") == 1
    assert value(client, "pocketrec_release_devices", **key) == 1
    reason = f"outcome must be one of {', '.join(KINDS)}"
    assert value(client, "pocketrec_outcomes_rejected_total", reason=reason) == 1
    assert value(client, "pocketrec_release_info", **key, name=stage.name) == 1


def test_two_servers_of_one_database_report_the_same_outcomes(client, tiny_repo):
    stage = read_policy(tiny_repo, "stable").releases[0]
    report(client, stage.manifest, "installed")
    other = create_app(Settings(repo=tiny_repo, log_requests=False)).test_client()
    name = "pocketrec_outcomes_total"
    key = {"channel": "stable", "release": label_of(stage.manifest), "kind": "installed"}
    assert value(client, name, **key) == value(other, name, **key) == 1


def test_the_state_of_a_release_follows_the_signed_policy(client, tiny_repo, renamed_release):
    signers = load_signers(tiny_repo.parent / "keys")
    old = read_policy(tiny_repo, "stable").releases[0].manifest
    assert state_of(client, old) == "live"
    publish(renamed_release("next"), tiny_repo, signers, "stable", percent=20.0)
    new = read_policy(tiny_repo, "stable").releases[0].manifest
    key = {"channel": "stable", "release": label_of(new)}
    assert state_of(client, new) == state_of(client, old) == "live"
    assert value(client, "pocketrec_release_percent", **key) == 20
    old_share = value(client, "pocketrec_release_offered_share", **key | {"release": label_of(old)})
    assert old_share == pytest.approx(0.8)
    data = value(client, "pocketrec_release_data_timestamp_seconds", **key)
    published = value(client, "pocketrec_release_published_timestamp_seconds", **key)
    assert data <= published <= time.time() + 1

    def paused(policy):
        return changed(policy, policy.releases[0], state=PAUSED)

    change_policy(tiny_repo, signers, "stable", paused)
    assert state_of(client, new) == "paused"
    halt(tiny_repo, signers, "stable", old, "too slow", by="test")
    assert state_of(client, old) == "halted"


def test_a_halted_arm_has_a_metric_while_its_experiment_runs(client, tiny_repo):
    signers = load_signers(tiny_repo.parent / "keys")
    arms = [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}]
    plan = {"id": "blend", "until_utc": int(time.time()) + 86_400, "arms": arms}
    one = signing.start(tiny_repo, signers, "stable", plan)
    halt_arm(tiny_repo, signers, "stable", one, "treatment", "slow")
    key = {"channel": "stable", "experiment": "blend"}
    assert value(client, "pocketrec_arm_halted", **key, arm="control") == 0
    assert value(client, "pocketrec_arm_halted", **key, arm="treatment") == 1


def test_the_build_and_the_process_have_metrics(client):
    found = scraped(client)
    labels = {"version": version("pocketrec"), "python": platform.python_version()}
    assert found["pocketrec_build_info", tuple(sorted(labels.items()))] == 1
    mine = {
        name: number
        for (name, labels), number in found.items()
        if name.startswith("process_") and labels == (("worker", "0"),)
    }
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * resource.getpagesize()
    assert mine["process_resident_memory_bytes"] == pytest.approx(resident, rel=0.2)
    assert mine["process_virtual_memory_bytes"] > mine["process_resident_memory_bytes"]
    assert 0 < mine["process_cpu_seconds_total"] <= time.process_time() + 1
    assert 3 < mine["process_open_fds"] < mine["process_max_fds"]
    assert mine["process_start_time_seconds"] < time.time()


def test_every_standing_has_a_state():
    assert set(STATES) == set(STANDINGS)


def test_a_damaged_repository_is_reported_and_other_metrics_stay(client, tiny_repo):
    assert value(client, "pocketrec_repository_up") == 1
    (tiny_repo / "metadata" / "timestamp.json").write_text("{}")
    found = scraped(client)
    assert found["pocketrec_repository_up", ()] == 0
    assert found["pocketrec_database_up", ()] == 1


def test_a_failing_database_is_reported_and_other_metrics_stay(client, tiny_repo):
    with open_database(default_url(tiny_repo)).begin() as connection:
        connection.exec_driver_sql("DROP TABLE setting")
        connection.exec_driver_sql("DROP TABLE outcome_day")
    found = scraped(client)
    assert found["pocketrec_database_up", ()] == 0
    assert found["pocketrec_repository_up", ()] == 1
    assert ("pocketrec_disk_free_bytes", ()) in found


def test_the_time_of_the_last_backup_is_a_metric(client, tiny_repo, tmp_path):
    assert value(client, "pocketrec_backup_timestamp_seconds") == 0
    make_backup_key(tmp_path / "backup-key")
    engine = open_database(default_url(tiny_repo))
    for name in ("a.tar", "b.tar"):
        done = back_up(tiny_repo, engine, tmp_path / name, tmp_path / "backup-key" / "backup.pem")
    assert value(client, "pocketrec_backup_timestamp_seconds") == done.created_utc


def test_a_backup_is_complete_where_its_time_cannot_be_stored(tiny_repo, tmp_path, caplog):
    make_backup_key(tmp_path / "backup-key")
    engine = open_database(default_url(tiny_repo))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE setting")
    key = tmp_path / "backup-key" / "backup.pem"
    assert back_up(tiny_repo, engine, tmp_path / "a.tar", key).database
    assert "the time of the backup was not stored" in caplog.text


def test_size_and_installs_are_read_from_sqlite_and_postgresql(engine, tmp_path):
    installs = [
        {"install_id": f"install-{n}", "first_utc": 5, "last_utc": last, "quota_day": 1}
        | {"tokens": 1, "tokens_utc": 1, "quota_used": 1}
        for n, last in enumerate((5, int(time.time()) - 60))
    ]
    with engine.begin() as connection:
        connection.execute(INSTALL.insert(), installs)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in Stored(tmp_path, engine).collect()
        for sample in family.samples
    }
    assert found["pocketrec_database_up",] == 1
    assert found["pocketrec_database_bytes",] > 1e5
    assert found["pocketrec_installs", "ever"] == 2
    assert found["pocketrec_installs", "week"] == 1
    assert found["pocketrec_last_upload_timestamp_seconds",] == pytest.approx(
        time.time() - 60, abs=9
    )


def request(**context):
    return {"kind": "request", "context": json.dumps(context)}


@pytest.fixture
def counted(tiny_repo):
    """Slates, and a function that returns the value of one of their series."""
    registry = CollectorRegistry()
    return slates.Slates(tiny_repo, registry), registry.get_sample_value, registry


def test_slates_are_counted_by_release_source_fault_and_latency(counted, tiny_repo):
    counter, series, _ = counted
    release = label_of(read_policy(tiny_repo, "stable").releases[0].manifest)
    counter.count(
        [
            request(release=release, source="model", ms=7.5, k=10),
            request(release=release, source="model", ms=40),
            request(release=release, source="fallback", ms=1, faults=["ranker_failed", "deadline"]),
            {"kind": "impression", "context": "{}"},
        ]
    )
    assert series("pocketrec_slates_total", {"release": release, "source": "model"}) == 2
    assert series("pocketrec_slates_total", {"release": release, "source": "fallback"}) == 1
    faults = {"release": release, "code": "ranker_failed"}
    assert series("pocketrec_slate_faults_total", faults) == 1
    assert series("pocketrec_slate_seconds_bucket", {"release": release, "le": "0.01"}) == 2
    assert series("pocketrec_slate_seconds_sum", {"release": release}) == pytest.approx(0.0485)


def test_what_devices_invent_makes_no_new_series(counted):
    counter, series, registry = counted
    names = [f"x{n}" for n in range(500)]
    counter.count(request(release=name, source=name, ms="1", faults=[name]) for name in names)
    counter.count([request(release=[], source={}, ms=1e300, faults=[[], None] * 500)])
    counter.count([request(faults="deadline")])
    labels = {"release": "other", "source": "other"}
    assert series("pocketrec_slates_total", labels) == 502
    assert series("pocketrec_slate_seconds_count", {"release": "other"}) is None
    n_series = sum(len(family.samples) for family in registry.collect())
    assert n_series == 4  # slates and faults of "other", and when each began


def test_sources_and_codes_are_those_of_the_device():
    assert get_args(Source) == slates.SOURCES
    assert [code.value for code in FaultCode] == list(slates.FAULT_CODES)


def test_routes_that_nobody_serves_share_one_label(client):
    for n in range(20):
        client.get(f"/not-here-{n}")
    routes = re.findall(r'pocketrec_requests_total\{route="([^"]+)"', client.get("/metrics").text)
    assert routes == ["unknown"]
