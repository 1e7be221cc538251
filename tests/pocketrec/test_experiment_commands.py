"""`pocketrec experiment` as an operator types it, on a real repository."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketrec.cli import main
from pocketrec.commands.experiment.plan_file import read_plan
from pocketrec.commands.experiment.table import facts
from pocketrec_bundle.encoding.strict_json import MAX_UTC
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import HaltedArms
from pocketrec_edge.device import Device
from pocketrec_edge.experiments.signed_experiments import keep_experiments
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.signing import read_experiments
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish

FILE = """
id = "blend"
hypothesis = "more likes"
layer = "ranking"
days = 14
percent = 10
[eligible]
app_least = "1.2"
users = "new"
[[arms]]
name = "control"
share = 0.5
[[arms]]
name = "variety"
share = 0.5
rules = "variety.json"
head_weights = {like = 1.5}
flags = {big_cards = true}
[[guardrails]]
metric = "ctr"
worse_by = 0.05
alpha = 0.01
"""
RULES = {"version": 1, "depth": 20, "rules": [{"kind": "mmr", "relevance": 0.7}]}


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "variety.json").write_text(json.dumps(RULES))
    (tmp_path / "blend.toml").write_text(FILE)
    return tmp_path / "blend.toml"


@pytest.fixture(scope="module")
def founded(tiny_release, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    found_repository(folder / "repo", load_signers(folder / "keys"))
    publish(tiny_release, folder / "repo", load_signers(folder / "keys"), "stable")
    return folder


def changed(file: Path, *changes: tuple[str, str]) -> Path:
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return file


def test_a_file_becomes_a_plan(file):
    plan = read_plan(file)
    assert plan["length_s"] == 14 * 86_400
    assert "from_utc" not in plan and "until_utc" not in plan
    assert plan["eligible"] == {"app": {"least": "1.2", "below": None}, "users": "new"}
    assert plan["arms"][1]["rules"] == RULES
    changed(file, ("days = 14", "from = 2027-01-02\nuntil = 2027-01-03T12:00:00+01:00"))
    changed(file, ("percent = 10", "percent = 10\nramp = [[2027-01-02T06:00:00Z, 50]]"))
    plan = read_plan(file)
    assert plan["from_utc"] == 1_798_848_000  # date -u -d 2027-01-02 +%s
    assert plan["until_utc"] == 1_798_848_000 + 35 * 3600
    assert plan["ramp"] == [[1_798_848_000 + 6 * 3600, 50]]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("hypothesis", "hypotesis", "unknown key 'hypotesis'; did you mean 'hypothesis'"),
        ("app_least", "app_last", "eligible: unknown key 'app_last'; did you mean 'app_least'"),
        ("days = 14", "", "give one of `until` .* and `days`"),
        ("days = 14", "days = 14\nuntil = 2027-01-01", "give one of `until` .* and `days`"),
        ("days = 14", 'until = "2027-01-01"', "expected a time such as"),
        ("days = 14", "days = 0", "a number above 0"),
        ("percent = 10", "percent = 10\nramp = [50]", "expected pairs"),
        ('"variety.json"', '"missing.json"', r"arm 2: rules: .*missing.json: No such file"),
        ('"variety.json"', '"blend.toml"', "not JSON"),
        ('"variety.json"', r'"variety\u0000.json"', "arm 2: rules: not the path of a file"),
        ("[[arms]]", "[arms]", "not TOML"),
        ("layer", 'layer = "a"\nlayer', "not TOML"),
    ],
)
def test_a_wrong_file_names_what_to_change(file, old, new, match):
    with pytest.raises(InputError, match=match):
        read_plan(changed(file, (old, new)))


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_plan(tmp_path / "no.toml")


def test_an_experiment_from_start_to_ship(founded, file, runner):
    repo, keys = founded / "repo", founded / "keys"

    def run(*words, code=0):
        signed = () if words[0] == "status" else ("--keys", str(keys), "--by", "alice")
        done = runner.invoke(main, ["experiment", *map(str, words), "--repo", str(repo), *signed])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout if code == 0 else done.stderr

    assert run("status") == "stable: no experiments\n"
    assert "conversions are like, purchase" in run("conversions", "like", "purchase")
    assert json.loads(run("status", "--json"))["format"] == 2
    assert "must be a list of 1..8" in run("conversions", "like", "like", code=2)
    assert run("conversions", "purchase") == "stable: no experiments\n"
    run("holdout", 0.05)
    assert "blend       running  ranking  0..1     10%" in run("start", file)
    (one,) = read_experiments(repo, "stable").experiments
    assert [arm.name for arm in one.arms] == ["control", "variety"]
    found = json.loads(run("ramp", "blend", "--percent", 50, "--json"))
    assert found["experiments"][0]["percent_now"] == 50 and found["holdout"]["share"] == 0.05
    assert "Give --percent" in run("ramp", "blend", code=2)
    assert "paused" in run("pause", "blend")
    run("resume", "blend")
    changed(file, ("percent = 10", "percent = 50"), ("layer = ", "segment = [0.0, 0.5]\nlayer = "))
    assert "segment would change" in run("start", file, code=2)
    run("start", file, "--new-salt")
    assert read_experiments(repo, "stable").experiments[0].salt != one.salt
    text = run("ship", "blend", "variety", "--reason", "4% more likes")
    assert "shipped variety" in text
    assert "control 50%, variety 50% (rules, head_weights, big_cards=True)" in text
    assert "5% of the devices are in no experiment (holdout)" in text
    run("stop", "blend")
    assert "stop needs running or paused or shipped" in run("stop", "blend", code=2)
    run("kill", "blend")
    history = runner.invoke(main, ["rollout", "history", "--repo", str(repo)]).stdout
    actions = [line.split()[4] for line in history.splitlines()]
    assert actions[:5] == [
        f"experiment-{name}" for name in ("kill", "stop", "ship", "start", "resume")
    ]
    assert "(4% more likes)" in history


def test_an_arm_with_a_model_set_from_publish_to_ship(two_rankers, runner, tmp_path):
    """The commands say which apps take part, and how the winner becomes the release's own."""
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    make_keys(keys)
    found_repository(repo, load_signers(keys))
    signed = ("--repo", str(repo), "--keys", str(keys))
    text = FILE.replace('rules = "variety.json"\n', 'models = "MODELS"\n')
    (tmp_path / "sets.toml").write_text(text.replace("MODELS", "other"))

    def run(*words, code=0):
        done = runner.invoke(main, [*map(str, words), *signed])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    run("publish", two_rankers, "--percent", 100)
    start = ("experiment", "start", tmp_path / "sets.toml")
    assert "has no model set other for onnx; its model sets: against" in run(*start, code=2).stderr
    (tmp_path / "sets.toml").write_text(text.replace("MODELS", "against"))
    started = run(*start)
    assert "of format 2. Apps that only read format 1 take part in none of them" in started.stderr
    assert "variety 50% (head_weights, models against, big_cards=True)" in started.stdout
    shipped = run("experiment", "ship", "blend", "variety")
    assert "every app that reads model sets fetches set against" in shipped.stderr
    assert "pocketrec experiment stop blend" in shipped.stderr


def test_an_edit_of_an_open_experiment_keeps_what_the_file_does_not_name(
    tiny_release, file, runner, tmp_path
):
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    make_keys(keys)
    signers = load_signers(keys)
    found_repository(repo, signers)
    publish(tiny_release, repo, signers, "stable")

    def run(*words):
        signed = ("--repo", str(repo), "--keys", str(keys))
        done = runner.invoke(main, ["experiment", *map(str, words), *signed])
        assert done.exit_code == 0, (done.output, done.exception)
        (one,) = read_experiments(repo, "stable").experiments
        return one, done.stderr

    changed(file, ("percent = 10\n", ""))
    yesterday = int(time.time()) - 80_000
    plan = read_plan(file) | {"percent": 20}
    first = signing.start(repo, signers, "stable", plan, now_utc=yesterday)
    assert first.until_utc == yesterday + 14 * 86_400
    ramped, _ = run("ramp", "blend", "--percent", 30, "--ramp", f"{day(yesterday + 9e5)}=60")
    paused, _ = run("pause", "blend")
    assert run("start", file) == (paused, "blend: nothing changed\n")
    assert (paused.percent, paused.ramp, paused.state) == (30, ramped.ramp, "paused")
    changed(file, ("days = 14", "days = 15\npercent = 40"), ("more likes", "more"))
    after, said = run("start", file)
    assert after == replace(
        paused, until_utc=yesterday + 15 * 86_400, percent=40, hypothesis="more"
    )
    until = f"until {day(first.until_utc)} to {day(after.until_utc)}"
    assert said == f"blend: changed hypothesis, {until}, percent 30 to 40\n"


def day(utc):
    return datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%dT%H:%MZ")


def test_an_experiment_that_has_not_begun_or_is_over_says_so(founded):
    arms = (Arm(name="a", share=0.5), Arm(name="b", share=0.5))
    one = Experiment(
        id="a",
        hypothesis="",
        salt="0" * 32,
        layer="a",
        segment=(0, 1),
        state="running",
        from_utc=10,
        until_utc=20,
        arms=arms,
    )
    found = Experiments(channel="stable", experiments=(one,))
    standings = [
        facts(found, HaltedArms(), now)["experiments"][0]["standing"] for now in (9, 10, 20)
    ]
    assert standings == ["scheduled", "running", "over"]


def test_a_phone_shows_and_forces_its_arm(founded, tiny_release, tmp_path, runner):
    home = tmp_path / "phone"

    def run(*words, code=0):
        done = runner.invoke(main, ["device", "arm", "--home", str(home), *words])
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout if code == 0 else done.stderr

    with Device(home, engine="onnx") as device:
        device.install(tiny_release)
    assert json.loads(run("--json")) == {"arms": {}, "forced": []}
    arms = (Arm(name="control", share=0.5), Arm(name="variety", share=0.5))
    one = Experiment(
        id="blend",
        hypothesis="",
        salt="0" * 32,
        layer="a",
        segment=(0, 1),
        state="running",
        from_utc=10,
        until_utc=MAX_UTC,
        arms=arms,
    )
    signed = Experiments(channel="stable", experiments=(one,))
    keep_experiments(PhoneHome(home), signed.to_bytes())
    assert run("blend", "variety").splitlines() == [
        "arms          blend variety",
        "forced        blend",
    ]
    assert "no arm 'x'" in run("blend", "x", code=2)
    assert "no such experiment is open" in run("other", "x", code=2)
    for words in (["blend"], ["--clear"], ["blend", "variety", "--clear"]):
        run(*words, code=2)
    found = json.loads(run("blend", "--clear", "--json"))
    assert (list(found["arms"]), found["forced"]) == (["blend"], [])


def test_settings_of_an_open_experiment_are_edited(tiny_release, file, runner, tmp_path):
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    make_keys(keys)
    found_repository(repo, load_signers(keys))
    publish(tiny_release, repo, load_signers(keys), "stable")
    signed = ("--repo", str(repo), "--keys", str(keys))

    def run(*words, code=0):
        done = runner.invoke(main, ["experiment", *map(str, words), *signed])
        assert done.exit_code == code, (done.output, done.exception)
        (one,) = read_experiments(repo, "stable").experiments
        return one, done.stderr

    first, _ = run("start", file)
    rails = ("--guardrail", "ctr", 0.1, 0.01, "--guardrail", "slate_ms", 0.5, 0.001)
    until = day(first.until_utc // 60 * 60 + 86_400)
    after, said = run("edit", "blend", *rails, "--until", until, "--hypothesis", "more")
    assert [(each.metric, each.worse_by) for each in after.guardrails] == [
        ("ctr", 0.1),
        ("slate_ms", 0.5),
    ]
    assert (day(after.until_utc), after.salt, after.percent) == (until, first.salt, 10)
    assert said.startswith("blend: changed hypothesis, until ")
    ramped, _ = run("edit", "blend", "--ramp", f"{until}=60")
    assert (ramped.percent, [share for _, share in ramped.ramp]) == (10, [60])
    flat, _ = run("edit", "blend", "--percent", 20, "--no-guardrails")
    assert (flat.percent, flat.ramp, flat.guardrails) == (20, (), ())
    for words, why in (
        ((), "Give a setting"),
        (("--percent", 5), "devices would leave"),
        ((*rails, "--no-guardrails"), "Give --guardrail or --no-guardrails"),
        (("--guardrail", "revenue", 0.1, 0.01), "metric"),
        (("--until", "2020-01-01"), "hours before now"),
    ):
        assert why in run("edit", "blend", *words, code=2)[1]
    run("stop", "blend")
    assert "is stopped" in run("edit", "blend", "--percent", 50, code=2)[1]
