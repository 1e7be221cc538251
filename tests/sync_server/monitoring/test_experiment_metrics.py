"""Metrics of experiments: of the signed file, of exposures, and of the published report."""

import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pocketrec_server.app import create_app
from pocketrec_server.experiments.results import ArmResult, Results, store_results
from pocketrec_server.experiments.signing import move, start
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, finish
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def client(tiny_repo):
    return create_app(Settings(repo=tiny_repo, log_requests=False)).test_client()


@pytest.fixture
def running(tiny_repo, tmp_path):
    arms = [{"name": "control", "share": 0.5}, {"name": "large", "share": 0.5}]
    plan: dict[str, Any] = {"id": "cards", "arms": arms, "until_utc": int(time.time()) + 86_400}
    plan["guardrails"] = [{"metric": "fallback_share", "worse_by": 0.2, "alpha": 0.01}]
    return start(tiny_repo, load_signers(tmp_path / "keys"), "stable", plan)


def scraped(client):
    """(name, values of its labels) -> value of every sample."""
    names = ("channel", "experiment", "state", "arm", "metric", "guardrail")
    return {
        (
            sample.name.removeprefix("pocketrec_experiment_"),
            *(sample.labels[name] for name in names if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith("pocketrec_experiment_")
    }


def expose(client, one, install, arm, **more):
    context = {"arm": arm, "salt": one.salt[:8]} | more
    event = {"id": "e", "kind": "exposure", "item_id": "", "event": one.id, "context": context}
    body = {"install_id": install, "consent": True, "events": [event | {"ts": one.from_utc + 1}]}
    assert client.post("/v1/events", json=body).status_code == 200


def test_state_end_and_exposed_devices(client, running, tiny_repo, tmp_path):
    for n in range(60):
        expose(client, running, f"install-of-control-{n}", "control")
    for n in range(15):
        expose(client, running, f"install-of-large-{n}", "large")
    expose(client, running, "install-of-a-tester", "large", forced=True)
    found = scraped(client)
    assert found["state", "stable", "cards", "running"] == 1
    assert sum(v for key, v in found.items() if key[0] == "state") == 1
    assert found["end_timestamp_seconds", "stable", "cards"] == running.until_utc
    assert found["devices", "stable", "cards", "control"] == 60
    assert found["devices", "stable", "cards", "large"] == 15
    # chi-square of 60 and 15 against 37.5 each is 27: p = erfc(sqrt(13.5)).
    assert found["sample_ratio_p", "stable", "cards"] == pytest.approx(2.03e-7, rel=0.01)
    assert not any(key[0].startswith(("report", "change")) for key in found)
    move(tiny_repo, load_signers(tmp_path / "keys"), "stable", "cards", "stop")
    assert scraped(client)["state", "stable", "cards", "stopped"] == 1


def test_the_published_report_has_series_by_arm_and_metric(client, running, tiny_repo):
    large = ArmResult(arm="large", users=9, change=0.1, low=-0.1, high=0.3, z=1.5, bound=2.5)
    made = Results(
        experiment="cards",
        salt=running.salt,
        metric="ctr",
        computed_utc=1_800_000_000,
        until_utc=9,
        days=1,
        planned_days=1,
        word="Keep running",
        sentence="",
        tone="unsure",
        sample_ratio_p=1.0,
        arms=(ArmResult(arm="control", users=8), large),
    )
    store_results(open_database(default_url(tiny_repo)), "stable", made)
    found = scraped(client)
    assert found["report_timestamp_seconds", "stable", "cards"] == 1_800_000_000
    of_large = {key[0]: v for key, v in found.items() if key[-2:] == ("large", "ctr")}
    wanted = {"change": 0.1, "change_low": -0.1, "change_high": 0.3, "z": 1.5, "bound": 2.5}
    assert of_large == wanted
    assert not any(key[-2:] == ("control", "ctr") for key in found)


def test_the_latest_look_at_each_guardrail_has_series(client, running, tiny_repo):
    engine, subject = open_database(default_url(tiny_repo)), subject_of("stable", running)
    assert not any("guardrail" in key[0] for key in scraped(client))
    for day, guardrail, z in (
        (1, "fallback_share 0.2 0.01", 0.5),
        (2, "fallback_share 0.2 0.01", 3.5),
        (2, "ctr 0.1 0.01", 9.0),  # a limit that the experiment no longer has
    ):
        facts: dict[str, Any] = {
            "subject": subject,
            "arm": "large",
            "guardrail": guardrail,
            "day": day,
        }
        facts |= {"control": 0.1, "treatment": 0.2, "information": 1.0, "z": z, "bound": 3.25}
        made = Look(**facts, networks=60 + day, broken=int(z > 3.25))
        finish(engine, subject, day, [made])
    of_rail = {key[0]: v for key, v in scraped(client).items() if "guardrail" in key[0]}
    assert of_rail == {
        "guardrail_z": 3.5,
        "guardrail_bound": 3.25,
        "guardrail_networks": 62,
        "guardrail_day": 2,
    }
    key = ("guardrail_z", "stable", "cards", "large", "fallback_share 0.2")
    assert scraped(client)[key] == 3.5


def test_without_an_experiment_there_are_no_series(client):
    assert scraped(client) == {}
