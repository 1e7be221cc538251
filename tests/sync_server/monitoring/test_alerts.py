"""Dashboard and alerts use metrics that a server has; promtool and Prometheus accept them."""

import importlib
import json
import re
import shutil
import socket
import subprocess
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pocketrec import cli
from pocketrec_server.app import create_app
from pocketrec_server.experiments.results import ArmResult, Results, store_results
from pocketrec_server.experiments.signing import start
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, finish, name_of
from pocketrec_server.monitoring.files import ALERTS, DASHBOARD, EXAMPLE, NAMES, content_of
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import read_policy
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database

HERE = Path(__file__).parent
OF_PROMETHEUS = {"job", "instance"}
SELECTOR = re.compile(r"\b((?:pocketrec|process)_\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def program(name):
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on the PATH (Debian's package prometheus has it)")
    return found


def alerts():
    return [
        rule for group in yaml.safe_load(content_of(ALERTS))["groups"] for rule in group["rules"]
    ]


def panels():
    return json.loads(content_of(DASHBOARD))["panels"]


def queries():
    """Query -> what uses it; the dashboard's variables are filled in."""
    found = {alert["expr"]: alert["alert"] for alert in alerts()}
    for panel in panels():
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "5m").replace("$channel", ".*")
            found[filled] = panel["title"]
    return found


@pytest.fixture
def metrics(tiny_repo, tmp_path):
    """Families at /metrics of a server that devices have used: name -> labels of its samples."""
    app = create_app(Settings(repo=tiny_repo, log_requests=False))
    experiment(tiny_repo, tmp_path / "keys")
    client = app.test_client()
    use(lambda path, body: client.post(path, json=body), tiny_repo)
    client.get("/metadata/timestamp.json")
    found: dict[str, set[str]] = {}
    exposed = client.get("/metrics").text + field_report()
    for family in text_string_to_metric_families(exposed):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        for ending in endings.get(family.type, ()):  # no sample, if no device reported one
            found.setdefault(family.name + ending, set())
    return found


def field_report():
    """Metrics of `pocketrec monitor`, which come through node_exporter."""
    monitoring = pytest.importorskip("pocketrec_experiments.monitoring.prometheus")
    report = importlib.import_module("pocketrec_experiments.monitoring.report")
    drift = importlib.import_module("pocketrec_experiments.monitoring.drift")
    releases = importlib.import_module("pocketrec_experiments.monitoring.releases")
    calibration = importlib.import_module("pocketrec_experiments.monitoring.calibration")
    made = report.MonitorReport(
        bundle="shop",
        release="a",
        from_utc=0,
        until_utc=9,
        days=1,
        users=1,
        interactions=1,
        unknown_items_share=0.0,
        releases=[releases.ReleaseFigures(release="a", impressions=1, coverage=0.5)],
        adoption=None,
        calibration=calibration.Calibration(release="a", tenths=(), error=0.1, lift=None),
        drifts=[
            drift.Drift(what="events", state="stable", psi=0.1, jensen_shannon=0.1, by_chance=0.01)
        ],
        notes=[],
    )
    return monitoring.exposition(made, 9)


def experiment(repo, keys):
    """Start an experiment, look at its guardrail and publish a report of it."""
    arms = [{"name": name, "share": 0.5} for name in ("control", "b")]
    plan: dict[str, Any] = {"id": "blend", "arms": arms, "until_utc": int(time.time()) + 9**6}
    plan["guardrails"] = [{"metric": "ctr", "worse_by": 0.1, "alpha": 0.01}]
    one = start(repo, load_signers(keys), "stable", plan)
    treatment = ArmResult(arm="b", users=9, change=0.1, low=-0.1, high=0.3, z=1.0, bound=2.0)
    made = Results(
        experiment="blend",
        salt=one.salt,
        metric="ctr",
        computed_utc=9,
        until_utc=9,
        days=1,
        planned_days=7,
        word="Keep running",
        sentence="",
        tone="unsure",
        sample_ratio_p=1.0,
        arms=(ArmResult(arm="control", users=9), treatment),
    )
    engine, subject = open_database(default_url(repo)), subject_of("stable", one)
    store_results(engine, "stable", made)
    look: dict[str, Any] = {"subject": subject, "arm": "b", "day": 1, "networks": 60, "broken": 0}
    look |= {"control": 0.1, "treatment": 0.1, "information": 1.0, "z": -1.0, "bound": 4.0}
    finish(engine, subject, 1, [Look(**look, guardrail=name_of(one.guardrails[0]))])


def use(post, repo):
    """Act as devices: upload events and outcomes, good and bad."""
    manifest = read_policy(repo, "stable").releases[0].manifest
    outcomes = [{"id": "0" * 32, "manifest": manifest, "outcome": "installed"}, {}]
    post("/v1/outcomes", {"consent": True, "channel": "stable", "outcomes": outcomes})
    event = {"id": "a", "kind": "interaction", "item_id": "x", "event": "like", "ts": 5}
    facts = {"release": manifest[:16], "source": "model", "ms": 7.5, "faults": ["deadline"]}
    slate = {"id": "slate-of-a-test", "kind": "request", "item_id": "", "event": "home", "ts": 5}
    events = [event, slate | {"context": facts}, {}]
    upload = {"install_id": "some-install-id", "consent": True, "events": events}
    post("/v1/events", upload)
    post("/v1/events", upload | {"consent": False})


def test_every_alert_has_a_section_in_the_runbook_and_a_test(repository):
    text = (repository / "docs" / "server" / "runbook.md").read_text()
    tested = {
        case["alertname"]
        for test in yaml.safe_load((HERE / "alerts_test.yaml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names)) >= 20
    assert set(names) == tested
    assert set(names) == set(re.findall(r"^## (PocketRec\w+)$", text, re.MULTILINE))
    for alert in alerts():
        name, severity = alert["alert"], alert["labels"]["severity"]
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert (repository / page).is_file() and anchor == name.lower()
        section = text.partition(f"## {name}\n\n")[2]
        assert section.lower().startswith(f"{severity}. "), name


def test_every_metric_in_use_is_exported_with_these_labels(metrics):
    missing, labels = set(), set()
    for query, place in queries().items():
        for name, selected in SELECTOR.findall(query):
            if name not in metrics:
                missing.add(f"{place}: {name}")
            used = set(re.findall(r"(\w+)\s*[=!]~?\"", selected))
            if metrics.get(name):
                labels |= {f"{place}: {name} {one}" for one in used - metrics[name] - OF_PROMETHEUS}
        known = {label for of_metric in metrics.values() for label in of_metric} | OF_PROMETHEUS
        for names in GROUPED.findall(query):
            grouped = {one.strip() for one in names.split(",") if one.strip()}
            labels |= {f"{place}: {one}" for one in grouped - known}
    assert (missing, labels) == (set(), set())


def test_the_dashboard_shows_every_metric_of_ours(metrics):
    shown = {name for query in queries() for name, _ in SELECTOR.findall(query)}
    text = content_of(DASHBOARD).decode()
    families = {re.sub(r"_(total|created|bucket|count|sum)$", "", name) for name in metrics}
    ours = {name for name in families if name.startswith("pocketrec_")}
    unseen = {n for n in ours if not any(s.startswith(n) for s in shown) and n not in text}
    assert unseen == {"pocketrec_release_published_timestamp_seconds"} - shown


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    for a, b in combinations((panel["gridPos"] for panel in panels()), 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels())


@pytest.fixture
def written(runner, tmp_path):
    out = tmp_path / "monitoring"
    done = runner.invoke(cli.main, ["monitoring", "--out", str(out), "--json"])
    assert json.loads(done.output) == {"files": [str(out / name) for name in NAMES]}
    return out


def test_written_files_are_not_replaced_without_force(runner, written):
    (written / ALERTS).write_text("mine")
    done = runner.invoke(cli.main, ["monitoring", "--out", str(written)])
    assert done.exit_code == 2 and "exists already" in done.output
    assert (written / ALERTS).read_text() == "mine"
    assert runner.invoke(cli.main, ["monitoring", "--out", str(written), "--force"]).exit_code == 0
    assert (written / ALERTS).read_bytes() == content_of(ALERTS)


def test_promtool_accepts_rules_settings_and_every_query(written):
    promtool = program("promtool")
    all_queries = [{"record": f"query:{n}", "expr": expr} for n, expr in enumerate(queries())]
    (written / "queries.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": all_queries}]})
    )
    for words in (
        ["rules", "--lint-fatal", written / ALERTS],
        ["rules", "--lint-fatal", written / "queries.yaml"],
        ["config", written / EXAMPLE],
    ):
        done = subprocess.run([promtool, "check", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_only_then(written):
    promtool = program("promtool")
    shutil.copy(HERE / "alerts_test.yaml", written)
    words = [promtool, "test", "rules", written / "alerts_test.yaml"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_answers_the_queries_from_a_running_server(
    tiny_repo, start_server, written, tmp_path
):
    prometheus = program("prometheus")
    address, _ = start_server(tiny_repo)
    use(lambda path, body: urllib3.request("POST", f"{address}{path}", json=body), tiny_repo)
    settings = yaml.safe_load((written / EXAMPLE).read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings["scrape_configs"] = settings["scrape_configs"][:1]
    settings["scrape_configs"][0]["static_configs"] = [{"targets": [address.partition("//")[2]]}]
    (written / EXAMPLE).write_text(yaml.safe_dump(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        prometheus,
        f"--config.file={written / EXAMPLE}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "prometheus.log").open("wb") as log:
        child = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        here = f"http://127.0.0.1:{port}/api/v1"
        wait_for(lambda: found(here, "rate(process_cpu_seconds_total[1m])"))  # two scrapes
        empty = {place for query, place in queries().items() if not found(here, query)}
        assert empty & MUST_SHOW == set()
        rules = urllib3.request("GET", f"{here}/rules").json()["data"]["groups"]
        assert {r["name"] for g in rules for r in g["rules"]} == {a["alert"] for a in alerts()}
        assert all(not r["lastError"] for g in rules for r in g["rules"] if "lastError" in r)
    finally:
        child.terminate()
        child.wait()


MUST_SHOW = {
    "Halted releases",
    "Metadata expires in",
    "Age of the training data",
    "Repository and database",
    "Servers that answer",
    "Installed share",
    "Updates an hour",
    "Offered to",
    "State of releases",
    "Installs with uploads",
    "Events stored",
    "Slates by source",
    "Processor",
    "Memory",
    "Database and disk",
    "Versions",
}


def found(here, query):
    reply = urllib3.request("POST", f"{here}/query", fields={"query": query}).json()
    assert reply["status"] == "success", (query, reply)
    return reply["data"]["result"]


def wait_for(is_done):
    end = time.monotonic() + 60
    while True:
        try:
            if is_done():
                return
        except (urllib3.exceptions.HTTPError, json.JSONDecodeError):
            pass
        assert time.monotonic() < end
        time.sleep(0.2)
