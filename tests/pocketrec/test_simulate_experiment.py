"""`device simulate --experiment`: a few real phones and server, and what it refuses."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.support import command_line
from pocketrec.cli import main
from pocketrec.commands.device.simulate_experiment import flag_defaults, read_lifts
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_server.errors import KeysInvalidError
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.results import read_results
from pocketrec_server.halting import guard, looks
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import found_repository, publish
from pocketrec_server.storage.database import default_url, open_database

ARMS = [
    {"name": "control", "share": 0.5, "flags": {"columns": 3}},
    {"name": "large", "share": 0.5, "flags": {"columns": 2, "large": True, "label": "new"}},
]


@pytest.fixture(scope="module")
def founded(tiny_release, tmp_path_factory):
    folder = tmp_path_factory.mktemp("founded")
    make_keys(folder / "keys")
    signers = load_signers(folder / "keys")
    found_repository(folder / "repo", signers)
    publish(tiny_release, folder / "repo", signers, "stable")
    plan = {"id": "cards", "arms": ARMS, "until_utc": int(time.time()) + 2 * 86_400}
    with pytest.MonkeyPatch.context() as patch:  # four phones are in both arms by this salt
        patch.setattr(signing, "secrets", SimpleNamespace(token_hex=lambda n: "5a" * n))
        signing.start(folder / "repo", signers, "stable", plan)
    plan |= {"id": "mixed", "interleave": True, "layer": "b"}
    plan |= {"arms": [{"name": name, "share": 0.5} for name in ("a", "b")]}
    signing.start(folder / "repo", signers, "stable", plan)
    signing.start(folder / "repo", signers, "stable", plan | {"id": "old", "layer": "c"})
    signing.move(folder / "repo", signers, "stable", "old", "stop")
    return folder


@pytest.fixture
def experiment(founded):
    return signing.read_experiments(founded / "repo", "stable").find("cards")


def run(runner, founded, *words, url="http://127.0.0.1:1"):
    options = ["--server", url, "--root", founded / "repo/metadata/1.root.json"]
    options += ["--repo", founded / "repo", "--engine", "onnx", "--only", "flagship"]
    return runner.invoke(main, ["device", "simulate", *map(str, [*options, *words])])


def test_phones_are_exposed_and_the_report_counts_their_clicks(
    founded, runner, tiny_release, experiment, tmp_path
):
    words = ["--experiment", "cards", "--devices", 4, "--lift", "large=1", "--minutes", 600]
    words += ["--bundle", tiny_release, "--work", tmp_path / "work"]
    with command_line.server(founded / "repo", founded) as url:
        done = run(runner, founded, *words, "--json", url=url)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    (fleet,), found = told["classes"], told["experiment"]
    assert fleet["events_sent"] == fleet["events"] > 0
    assert found["verdict"] == "too few users"
    assert found["named"] is None
    assert sum(arm["devices"] for arm in found["arms"]) == 4
    assert sum(arm["clicks"] for arm in found["arms"]) == fleet["acts"]
    assert [arm["stated_lift"] for arm in found["arms"]] == [0, 1]

    words = ["experiment", "report", "cards", "--events", tmp_path / "work" / "events"]
    words += ["--repo", founded / "repo", "--metric", "ctr", "--publish"]
    done = runner.invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    engine = open_database(default_url(founded / "repo"))
    results = read_results(engine, "stable", experiment)
    engine.dispose()
    assert results is not None
    assert (results.word, results.metric) == ("No verdict yet", "ctr")
    assert [arm.users for arm in results.arms] == [arm["devices"] for arm in found["arms"]]
    assert time.time() - results.computed_utc < 600


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment", "card"], "no experiment 'card'; known experiments: old, mixed, cards"),
        (["--experiment", "old"], "old: is stopped; simulated phones need a running"),
        (["--experiment", "mixed"], "mixed: mixes both arms in each slate"),
        (["--keys", "keys"], "--lift, --keys and --repo need --experiment ID"),
        (["--experiment", "cards"], "127.0.0.1:1: does not answer"),
        (["--experiment", "cards", "--lift", "small=1"], "has no arm 'small'; it has control, l"),
        (["--lift", "large=1"], "--lift, --keys and --repo need --experiment ID"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_a_phone_lives(runner, founded, words, message):
    done = run(runner, founded, *words)
    assert done.exit_code == 2, done.output
    assert message in done.output


def test_a_bundle_that_is_not_there_is_refused_before_a_phone_lives(runner, founded):
    done = run(runner, founded, "--experiment", "cards", "--bundle", founded / "nowhere")
    assert done.exit_code == BundleInvalidError.exit_code == 1
    assert f"{founded / 'nowhere'}: not a bundle, no readable manifest.json" in done.output


@pytest.fixture(scope="module")
def url(founded):
    with command_line.server(founded / "repo", founded) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(founded):
    signers = load_signers(founded / "keys")
    plan = {"id": "guarded", "layer": "d", "percent": 1}
    plan |= {"until_utc": int(time.time()) + 2 * 86_400}
    plan |= {"guardrails": [{"metric": "ctr", "worse_by": 0.1, "alpha": 0.05}]}
    plan |= {"arms": [{"name": name, "share": 0.5, "flags": {"x": name}} for name in "ab"]}
    return signing.start(founded / "repo", signers, "stable", plan)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cards", "--keys", "KEYS", "--networks", 50], "--keys: cards has no guardrails"),
        (["guarded", "--keys", "KEYS"], "--networks 1: a look needs 50 networks in each arm"),
    ],
)
def test_looks_that_cannot_be_made_are_refused(runner, founded, guarded, url, words, message):
    words = [founded / "keys" if word == "KEYS" else word for word in words]
    done = run(runner, founded, "--experiment", *words, url=url)
    assert done.exit_code == 2, done.output
    assert message in done.output


@pytest.mark.parametrize(
    ("name", "message"), [("empty", "no brake.pem"), ("nowhere", "no such folder")]
)
def test_looks_without_the_keys_are_refused(runner, founded, guarded, url, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    words = ["--experiment", "guarded", "--keys", tmp_path / name, "--networks", 50]
    done = run(runner, founded, *words, url=url)
    assert done.exit_code == KeysInvalidError.exit_code == 1
    assert f"{tmp_path / name}: {message}" in done.output


def test_guardrails_that_were_looked_at_are_refused(runner, founded, guarded, url):
    engine = open_database(default_url(founded / "repo"))
    subject = guard.subject_of("stable", guarded)
    assert looks.claim(engine, subject, 1, int(time.time()))
    words = ["--experiment", "guarded", "--keys", founded / "keys", "--networks", 50]
    done = run(runner, founded, *words, url=url)
    with engine.begin() as connection:
        looks.forget_others(connection, [])
    engine.dispose()
    assert done.exit_code == 2
    assert "guarded: its guardrails were looked at already" in done.output


def test_phones_that_do_not_enter_are_told(runner, founded, guarded, url, tiny_release):
    words = ["--experiment", "guarded", "--bundle", tiny_release, "--devices", 1, "--minutes", 1]
    done = run(runner, founded, *words, url=url)
    assert done.exit_code == 2, done.output
    assert "the guardrails of guarded are not looked at without --keys" in done.output
    assert "guarded: none of 1 phones entered it; 1% are enrolled" in done.output


def test_a_server_of_another_repository_is_refused(runner, founded, url, tiny_release, tmp_path):
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    other = tmp_path / "repo"
    plan = {"id": "cards", "arms": ARMS, "until_utc": int(time.time()) + 86_400}
    signers = load_signers(tmp_path / "keys")
    publish(tiny_release, other, signers, "stable")
    signing.start(other, signers, "stable", plan)
    done = run(runner, founded, "--experiment", "cards", "--repo", other, url=url)
    assert done.exit_code == 2
    assert f"{url}: does not serve {other}" in done.output


def test_without_a_server_and_its_repository_there_is_no_report(runner, tiny_release):
    words = ["device", "simulate", "--bundle", tiny_release, "--experiment", "cards"]
    done = runner.invoke(main, list(map(str, words)))
    assert done.exit_code == 2
    assert "--experiment needs --server, and --repo" in done.output


@pytest.mark.parametrize("text", ["large", "large=", "large=nan", "large=-1.5", "large=1e9"])
def test_a_lift_that_is_no_share_is_refused(experiment, text):
    with pytest.raises(InputError, match="expected ARM=LIFT"):
        read_lifts([text], experiment)


def test_the_app_has_controls_values_as_defaults(experiment):
    assert flag_defaults(experiment) == {"columns": 3, "large": False, "label": ""}
    assert flag_defaults(replace(experiment, arms=experiment.arms[:1])) == {"columns": 3}
