"""Two experiments on simulated phones and a real server: one is shipped, one is halted."""

import json
import shutil
from collections import Counter
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
SECOND, HARM = 155, -0.8  # at least 50 phones in each arm
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
HALTED = """
id = "banner"
hypothesis = "A banner does not keep users from clicking"
days = 2
layer = "banner"
[[arms]]
name = "control"
share = 0.33
flags = {banner = "none"}
[[arms]]
name = "alike"
share = 0.33
flags = {banner = "quiet"}
[[arms]]
name = "loud"
share = 0.34
flags = {banner = "loud"}
[[guardrails]]
metric = "ctr"
worse_by = 0.1
alpha = 0.05
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
    (tmp_path / "banner.toml").write_text(HALTED)
    (tmp_path / "online").mkdir()
    for name in ("brake", "snapshot", "timestamp"):
        shutil.copy(tmp_path / "keys" / f"{name}.pem", tmp_path / "online")
    (tmp_path / "classes.toml").write_text(CLASSES)
    # The arms of the phones: a random salt would fail the sample ratio once in 1,000 runs.
    salts = iter(("5a", "5c"))
    fixed = SimpleNamespace(token_hex=lambda n: next(salts) * n)
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
    with command_line.server(founded / "repo", founded) as url:
        yield url


def simulated(founded, url, runner, experiment, *words):
    options = {
        "--server": url,
        "--root": founded / "repo" / "metadata" / "1.root.json",
        "--repo": founded / "repo",
        "--classes": founded / "classes.toml",
        "--experiment": experiment,
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
    words = ["--bundle", tiny_release, "--devices", DEVICES, "--networks", DEVICES]
    words += ["--lift", f"large={LIFT}", "--sync-every", 2880, "--work", work]
    told = simulated(founded, url, runner, "cards", *words)
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
    homes = homes_in(work)[:40]
    before = [large_cards(home) for home in homes]
    for home in homes:
        sync(home, url, lambda bundle: replay(bundle, "onnx"), engine="onnx")
    after = [large_cards(home) for home in homes]
    assert 0 < sum(before) < len(homes)
    assert all(after)


def test_a_second_experiment_is_halted_by_its_guardrail_and_phones_leave_the_arm(
    founded, url, shop, runner, tiny_release, tmp_path
):
    shop("experiment", "start", founded / "cards.toml")
    shop("experiment", "ship", "cards", "large", "--reason", "more clicks")
    shop("experiment", "start", founded / "banner.toml")
    work = tmp_path / "banner"
    words = ["--bundle", tiny_release, "--devices", SECOND, "--networks", SECOND]
    words += ["--lift", f"loud={HARM}", "--keys", founded / "online", "--work", work]
    words += ["--minutes", 2400, "--sync-every", 800]  # the third sync is after the look
    told = simulated(founded, url, runner, "banner", *words)
    found = told["experiment"]
    control, alike, loud = found["arms"]
    assert loud["true_lift"] < 0 and min(arm["devices"] for arm in found["arms"]) >= 50
    # Equal arms are not halted; the worse one is, by the look at the uploads of the first day.
    looks = {(look["arm"], look["day"]): look for look in found["looks"]}
    assert set(looks) == {("alike", 1), ("loud", 1)}
    assert not looks["alike", 1]["broken"]
    harm = looks["loud", 1]
    assert harm["broken"] and harm["z"] > harm["bound"]
    assert harm["treatment"] < 0.9 * harm["control"]
    assert loud["halted"].startswith("ctr is ") and "(day 1, " in loud["halted"]
    assert control["halted"] is alike["halted"] is None
    # Its phones left it at their next sync, for the arm of the shipped experiment.
    assert (control["left"], alike["left"]) == (0, 0)
    assert loud["left"] > loud["devices"] / 2  # the others did not open the app after that sync
    homes = homes_in(work)
    assert all(large_cards(home) for home in homes[:10])
    banners = Counter(banner(home) for home in homes)
    devices = {"none": control["devices"], "quiet": alike["devices"], "": loud["devices"]}
    assert banners == devices
    # An operator reads of it in the status and in the report.
    status = runner.invoke(main, ["experiment", "status", "--repo", str(founded / "repo")])
    assert status.exit_code == 0, status.output
    assert f"banner: arm loud is halted: {loud['halted']}" in status.stdout
    assert f"Arm loud is halted: {loud['halted']}." in found["notes"][0]
    assert f"Arm loud is halted: {loud['halted']}." in found["words"]
    assert found["named"] is None


def homes_in(work: Path) -> list[Path]:
    return sorted(path for path in work.iterdir() if path.name.startswith("any-"))


def banner(home: Path) -> str:
    with Device(home, engine="onnx") as device:
        return device.flag("banner", "")


def large_cards(home: Path) -> bool:
    with Device(home, engine="onnx") as device:
        return device.flag("large_cards", False)
