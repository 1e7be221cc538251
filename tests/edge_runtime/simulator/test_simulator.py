"""The fleet: its decisions by hand, and real phones on a tiny release, with a real server."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.support import command_line
from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge import memory
from pocketrec_edge.device import Device
from pocketrec_edge.errors import SimulationFailedError
from pocketrec_edge.simulator import fleet
from pocketrec_edge.simulator.device_profiles import (
    BUILT_IN,
    OFFLINE,
    DeviceClass,
    Period,
    counts,
    put_off,
    read_classes,
    transfer_s,
)
from pocketrec_edge.simulator.device_session import Phone
from pocketrec_edge.simulator.plan import Plan
from pocketrec_edge.simulator.report import summarise
from pocketrec_edge.simulator.session_result import SessionResult
from pocketrec_edge.simulator.user_model import Habits, UserModel
from pocketrec_edge.sync.conditions import METERED, ON_BATTERY
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish


def period(from_hour=0.0, kb_per_s=100.0, latency_ms=50.0, metered=False, charging=True):
    return Period(
        from_hour=from_hour,
        kb_per_s=kb_per_s,
        latency_ms=latency_ms,
        metered=metered,
        charging=charging,
    )


def kind(*periods, name="one", share=1.0, **changes) -> DeviceClass:
    sound = {"cpu_slowdown": 2.0, "memory_mib": 4096.0, "storage_mib": 64.0, "offline_share": 0.0}
    period_or_one = periods or (period(),)
    return DeviceClass(name=name, share=share, period=period_or_one, **{**sound, **changes})


def plan(**changes) -> Plan:
    sound = {
        "bundle": None,
        "server": None,
        "root": None,
        "channel": "stable",
        "engine": "onnx",
        "minutes": 60.0,
        "anytime": False,
        "sync_every_min": 30.0,
        "consent": False,
        "seed": 0,
    }
    return Plan(**{**sound, **changes})


def run_session(of, plan, home, name) -> SessionResult:
    phone = Phone(of, plan, home, name)
    phone.live_until(plan.minutes)
    return phone.end()


def test_the_period_of_an_hour_is_the_last_that_began():
    found = kind(period(22.0), period(7.0), period(9.5))
    hours = {h: found.at(h).from_hour for h in (0, 6.9, 7, 9.4, 9.5, 21.9, 22, 23.9)}
    assert hours == {0: 22, 6.9: 22, 7: 7, 9.4: 7, 9.5: 9.5, 21.9: 9.5, 22: 22, 23.9: 22}


@pytest.mark.parametrize(
    ("state", "dropped", "anytime", "why"),
    [
        (period(), False, False, None),
        (period(), True, True, OFFLINE),
        (period(kb_per_s=0.0), False, True, OFFLINE),
        (period(metered=True), False, False, METERED),
        (period(metered=True, charging=False), False, False, METERED),
        (period(charging=False), False, False, ON_BATTERY),
        (period(metered=True, charging=False), False, True, None),
    ],
)
def test_a_sync_waits_for_an_unmetered_network_and_mains(state, dropped, anytime, why):
    assert put_off(state, dropped=dropped, anytime=anytime) == why


def test_a_transfer_takes_a_latency_a_request_and_its_bytes():
    assert transfer_s(period(kb_per_s=200.0, latency_ms=50.0), 4, 100_000) == pytest.approx(0.7)


def test_devices_are_shared_out_by_largest_remainders():
    shares = [kind(name=str(s), share=s) for s in (0.2, 0.5, 0.25, 0.05)]
    assert counts(shares, 4) == [1, 1, 1, 1]
    assert counts(shares, 8) == [2, 3, 2, 1]  # of 4 more: 0.8, 2, 1, 0.2
    with pytest.raises(InputError, match="3 devices for 4 classes"):
        counts(shares, 3)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=8), st.integers(8, 500))
@settings(deadline=None, max_examples=50)
def test_every_device_has_a_class_and_every_class_a_device(shares, n):
    kinds = [kind(name=str(at), share=share) for at, share in enumerate(shares)]
    found = counts(kinds, n)
    assert sum(found) == n
    assert min(found) >= 1
    for share, count in zip(shares, found, strict=True):
        assert abs(count - 1 - (n - len(shares)) * share / sum(shares)) <= 1


def test_built_in_classes_can_be_read_and_chosen():
    names = [each.name for each in read_classes(BUILT_IN)]
    assert len(names) == len(set(names)) >= 3
    assert [each.name for each in read_classes(BUILT_IN, ("entry",))] == ["entry"]
    with pytest.raises(InputError, match="no class 'watch'"):
        read_classes(BUILT_IN, ("watch",))


SOUND = """[[class]]
name = "a"
share = 1
cpu_slowdown = 1.0
memory_mib = 100
storage_mib = 100
offline_share = 0.5
period = [{ from_hour = 0, kb_per_s = 1, latency_ms = 1, metered = true, charging = false }]
"""


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("share = 1", "", "no share"),
        ("share = 1", "share = 0", "share must be a number from 0.001"),
        ("share = 1", "share = true", "share must be"),
        ("memory_mib = 100", "memory_mib = inf", "memory_mib must be"),
        ("memory_mib", "memory_mb", "no memory_mib"),
        ("offline_share = 0.5", "offline_share = 2", "offline_share must be 0..1"),
        ("metered = true", "metered = 1", "period 1: metered must be true or false"),
        ("from_hour = 0", "from_hour = 24", "from_hour must be below 24"),
        ("metered = true", "metered = true, wifi = 1", "unknown wifi"),
        ('name = "a"', "name = 3", "name must be a text"),
        ('name = "a"', 'name = "../a"', "name must be letters"),
        ("period = [{", 'period = ["x", {', "period 1: no charging"),
        ("[[class]]", "[class]", r"must hold \[\[class\]\] tables"),
        ("[[class]]", "[[class]", "cannot be read as TOML"),
        (SOUND, SOUND + SOUND, "the same name"),
        (SOUND[SOUND.index("period") :], "period = []", "period must be a list of periods"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, was, now, said):
    path = tmp_path / "classes.toml"
    path.write_text(SOUND)
    assert read_classes(path)[0].offline_share == 0.5
    path.write_text(SOUND.replace(was, now, 1))
    with pytest.raises(InputError, match=said):
        read_classes(path)


def test_people_look_less_at_later_places_and_differ_in_taste():
    user = UserModel(Habits(fading=1.0, attraction=1.0), "x")
    n = 4000
    shares = [sum(user.takes("a", place) for _ in range(n)) / n for place in (1, 2, 4)]
    assert shares[1] == pytest.approx(shares[0] / 2, abs=0.03)
    assert shares[2] == pytest.approx(shares[0] / 4, abs=0.03)
    tastes = {item: sum(user.takes(item, 1) for _ in range(500)) for item in "abcdef"}
    assert len(set(tastes.values())) > 3


def test_a_seed_behaves_the_same_way_again():
    one, two, other = (UserModel(Habits(), seed) for seed in ("1 a", "1 a", "2 a"))
    lived: list[list[Any]] = [
        [list(p.opens(600)), [p.takes("a", 1) for _ in range(50)], p.chooses(("x", "y"))]
        for p in (one, two, other)
    ]
    assert lived[0] == lived[1] != lived[2]
    assert lived[0][0][0] == 0
    opened = [len(list(UserModel(Habits(opens_per_hour=6), str(n)).opens(600))) for n in range(40)]
    assert sum(opened) / 40 == pytest.approx(61, abs=4)  # the first one, and ten hours of six


def test_figures_of_a_class_are_sums_and_scaled_quantiles():
    results = [
        SessionResult(
            release="new",
            total_ms=[1.0, 2.0, 3.0],
            first_ms=[5.0],
            sources=Counter(model=3),
            faults=Counter(x=1),
            unanswered=1,
            events=7,
            syncs=1,
            bytes_down=100,
            sync_s=0.25,
        ),
        SessionResult(first_ms=[7.0], sources=Counter(none=1), faults=Counter(x=2, y=1)),
    ]
    results = [
        SessionResult.from_json(json.loads(json.dumps(result.to_json()))) for result in results
    ]
    found = summarise(kind(memory_mib=10.0), results, 11 * 2**20)
    assert (found.requests, found.p50_ms, found.first_slate_ms) == (4, 4.0, 12.0)
    assert found.p99_ms == pytest.approx(2 * 2.98)
    assert found.sources == {"model": 3, "none": 1}
    assert found.faults == {"x": 3, "y": 1}
    assert found.releases == {"new": 1, "none": 1}
    assert (found.unanswered, found.events, found.bytes_down) == (1, 7, 100)
    assert (found.resident_mib, found.would_be_killed) == (11.0, True)
    assert not summarise(kind(memory_mib=11.0), results, 11 * 2**20).would_be_killed


def test_memory_is_what_the_system_counts():
    before = memory.resident_bytes()
    block = bytearray(b"x" * (64 << 20))
    assert memory.resident_bytes() >= before + (60 << 20)
    assert memory.peak_bytes() >= before + len(block) * 15 // 16


def simulate(runner, *words):
    return runner.invoke(main, ["device", "simulate", "--engine", "onnx", *map(str, words)])


def test_a_fleet_lives_and_the_same_seed_lives_again(tiny_release, tmp_path, runner):
    table = tmp_path / "classes.toml"
    small = SOUND.replace('"a"', '"b"').replace("memory_mib = 100", "memory_mib = 1")
    table.write_text(SOUND.replace("memory_mib = 100", "memory_mib = 4000") + small)
    words = ["--bundle", tiny_release, "--classes", table, "--devices", 3, "--minutes", 30]
    told = [json.loads(simulate(runner, *words, "--json", "--seed", s).stdout) for s in (1, 1, 2)]
    counted = ("requests", "sources", "acts", "events", "releases", "faults", "devices")
    first, again, other = ([[c[x] for x in counted] for c in each["classes"]] for each in told)
    assert first == again != other
    for found in told[0]["classes"]:
        assert found["sources"] == {"model": found["requests"]}
        assert found["requests"] >= found["devices"]
        assert found["events"] > found["requests"]  # impressions of each slate
        assert (found["faults"], found["releases"]) == ({}, {"tiny": found["devices"]})
    assert [found["would_be_killed"] for found in told[0]["classes"]] == [False, True]
    assert [found["devices"] for found in told[0]["classes"]] == [2, 1]


def test_a_table_is_printed_and_homes_are_kept(tiny_release, tmp_path, runner):
    words = ["--bundle", tiny_release, "--only", "entry", "--devices", 1, "--minutes", 5]
    done = simulate(runner, *words, "--work", tmp_path / "w")
    assert done.exit_code == 0, done.output
    assert "entry" in done.stdout and "would be killed" in done.stdout
    phone = Device(tmp_path / "w" / "entry-0", engine="onnx")
    assert phone.status().plain()["events"] > 0
    assert simulate(runner, *words, "--work", tmp_path / "w").exit_code == 2
    assert simulate(runner, "--devices", 1).exit_code == 2
    assert simulate(runner, "--server", "http://127.0.0.1:1").exit_code == 2


@pytest.fixture
def served(tiny_release, tmp_path):
    """(url, root, repository, signers) of a real server that has the tiny release."""
    make_keys(tmp_path / "keys")
    signers = load_signers(tmp_path / "keys")
    found_repository(tmp_path / "repo", signers)
    publish(tiny_release, tmp_path / "repo", signers, "stable")
    with command_line.server(tmp_path / "repo", tmp_path) as url:
        yield url, tmp_path / "repo" / "metadata" / "1.root.json", tmp_path / "repo", signers


def test_phones_sync_where_the_policy_lets_them(served, tmp_path):
    url, root, *_ = served
    asked = plan(server=url, root=str(root), consent=True)
    home = run_session(kind(), asked, tmp_path / "home", "1")
    assert (home.syncs, home.installs, home.release) == (2, 1, "tiny")
    assert home.bytes_down > 10_000
    assert home.sync_s >= home.bytes_down / 100_000 + 0.05
    assert 0 < home.events_sent <= home.events
    assert home.unanswered == 0
    metered = run_session(kind(period(metered=True)), asked, tmp_path / "metered", "1")
    assert (metered.syncs, metered.release, metered.bytes_down) == (0, None, 0)
    assert set(metered.put_off) == {METERED}
    assert set(metered.sources) == {"none"}
    assert metered.unanswered == 0  # nothing was installed
    gone = kind(offline_share=1.0)
    anytime = plan(server=url, root=str(root), anytime=True)
    assert run_session(kind(period(metered=True)), anytime, tmp_path / "any", "1").installs == 1
    assert set(run_session(gone, anytime, tmp_path / "gone", "1").put_off) == {OFFLINE}


def test_without_storage_the_new_release_is_refused_and_the_old_one_answers(
    served, tiny_release, tmp_path
):
    url, root, repo, signers = served
    other = Rules(depth=8, rules=())  # one file differs, and so do the golden slates
    write_tiny_bundle(tmp_path / "new", answers=True, name="new", rules=other)
    publish(tmp_path / "new", repo, signers, "stable")
    old_bytes = sum(path.stat().st_size for path in (tiny_release / "files").iterdir())
    full = kind(storage_mib=(old_bytes + 10) / 2**20)
    asked = plan(bundle=str(tiny_release), server=url, root=str(root))
    found = run_session(full, asked, tmp_path / "full", "1")
    assert (found.release, found.installs, found.syncs) == ("tiny", 1, 0)
    assert set(found.sources) == {"model"}
    (fault,) = found.faults
    assert "the limit is" in fault and "stays" in fault and fault.startswith("HOME")
    assert run_session(kind(), asked, tmp_path / "wide", "1").release == "new"
    tight = kind(storage_mib=0.001)
    none = run_session(tight, plan(bundle=str(tiny_release)), tmp_path / "tight", "1")
    assert (none.release, none.installs, none.unanswered) == (None, 0, 0)
    assert any("the limit is" in fault for fault in none.faults)


def test_a_phone_left_without_an_answer_fails_the_run(tiny_release, tmp_path, runner, monkeypatch):
    home = tmp_path / "damaged"
    phone = Device(home, engine="onnx")
    phone.install(tiny_release)
    phone.close()
    for path in (home / "store" / "files").iterdir():
        path.write_bytes(b"")
    shown = run_session(kind(), plan(), home, "1")
    assert set(shown.sources) == {"fallback"} and shown.acts > 0 and not shown.unanswered
    (home / "store" / "popular.json").unlink()
    found = run_session(kind(), plan(), home, "1")
    assert found.unanswered == found.sources["none"] > 0
    assert set(found.sources) == {"none"}
    monkeypatch.setattr(fleet, "run_fleet", lambda *_, **__: [fleet.ClassLife([found], 1)])
    done = simulate(runner, "--bundle", tiny_release, "--only", "entry", "--devices", 1)
    assert done.exit_code == 1
    assert "had no answer though a release was installed" in done.stderr


def test_a_child_that_fails_is_told(tmp_path, monkeypatch):
    plain = subprocess.Popen
    broken = [sys.executable, "-c", "raise SystemExit('out of luck')"]
    monkeypatch.setattr(subprocess, "Popen", lambda _, **words: plain(broken, **words))
    with pytest.raises(SimulationFailedError, match=r"(?s)exit code 1 after 0 of 2.*out of luck"):
        fleet.run_fleet([(kind(), 2)], plan(), tmp_path, keep=False, on_phone=lambda: None)
