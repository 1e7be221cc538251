"""An experiment from its start to the shipped arm: 300 simulated phones and a real server."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.support import command_line
from pocketrec.cli import main
from pocketrec_edge.device import Device
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.sync.client import sync
from pocketrec_server.experiments import signing
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

DEVICES, LIFT = 300, 0.5
FILE = """
id = "cards"
hypothesis = "Large cards are clicked more"
days = 2
[[arms]]
name = "control"
share = 0.5
[[arms]]
name = "large"
share = 0.5
flags = {large_cards = true}
"""
CLASSES = """[[class]]
name = "any"
share = 1
cpu_slowdown = 1.0
memory_mib = 4000
storage_mib = 100
offline_share = 0
period = [{ from_hour = 0, kb_per_s = 1000, latency_ms = 10, metered = false, charging = true }]
"""


@pytest.fixture
def founded(tiny_release, tmp_path, monkeypatch) -> Path:
    """A folder with keys/, repo/ that has the tiny release, cards.toml and classes.toml."""
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    publish(tiny_release, tmp_path / "repo", load_signers(tmp_path / "keys"), "stable")
    (tmp_path / "cards.toml").write_text(FILE)
    (tmp_path / "classes.toml").write_text(CLASSES)
    # The arms of the phones: a random salt would fail the sample ratio once in 1,000 runs.
    fixed = SimpleNamespace(token_hex=lambda n: "5a" * n)
    monkeypatch.setattr(signing, "secrets", fixed)
    return tmp_path


@pytest.fixture
def shop(founded, runner):
    """Run a command of an operator in the folder; its result."""

    def run(*words):
        signed = ("--repo", founded / "repo", "--keys", founded / "keys")
        done = runner.invoke(main, [*map(str, words), *map(str, signed)])
        assert done.exit_code == 0, done.output
        return done

    return run


@pytest.fixture
def url(founded):
    limit = ("--network-events-per-hour", "1000000")  # all phones have one address
    with command_line.server(founded / "repo", founded, *limit) as url:
        yield url


def simulated(founded, url, runner, *words):
    options = {
        "--server": url,
        "--root": founded / "repo" / "metadata" / "1.root.json",
        "--repo": founded / "repo",
        "--classes": founded / "classes.toml",
        "--experiment": "cards",
        "--engine": "onnx",
    }
    given = [word for pair in options.items() for word in pair]
    done = runner.invoke(main, ["device", "simulate", *map(str, [*given, *words]), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_report_names_the_better_arm_and_phones_follow_its_shipping(
    founded, url, shop, runner, tiny_release, tmp_path
):
    shop("experiment", "start", founded / "cards.toml")
    work = tmp_path / "work"
    words = ["--bundle", tiny_release, "--devices", DEVICES, "--lift", f"large={LIFT}"]
    told = simulated(founded, url, runner, *words, "--sync-every", 2880, "--work", work)
    (fleet,) = told["classes"]
    assert fleet["devices"] == DEVICES
    assert fleet["events_sent"] == fleet["events"]
    assert fleet["faults"] == {}
    found = told["experiment"]
    control, large = found["arms"]
    assert control["devices"] + large["devices"] == DEVICES
    assert (found["better"], found["named"], found["verdict"]) == ("large", "large", "better")
    assert large["stated_lift"] == LIFT
    assert large["true_lift"] == pytest.approx(LIFT, abs=0.1)
    assert large["is_covered"]
    assert 0 < large["low"] < large["lift"] < large["high"]
    for arm in found["arms"]:  # the report counts what the phones did
        assert arm["clicks"] / arm["shown"] == pytest.approx(arm["true_ctr"], rel=0.15)

    shop("experiment", "ship", "cards", "large", "--reason", "more clicks")
    homes = sorted(path for path in work.iterdir() if path.name.startswith("any-"))[:40]
    before = [large_cards(home) for home in homes]
    for home in homes:
        sync(home, url, lambda bundle: replay(bundle, "onnx"), engine="onnx")
    after = [large_cards(home) for home in homes]
    assert 0 < sum(before) < len(homes)
    assert all(after)


def large_cards(home: Path) -> bool:
    with Device(home, engine="onnx") as device:
        return device.flag("large_cards", False)
