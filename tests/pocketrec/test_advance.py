"""Ramps that wait for success, and halts of arms by hand, as an operator types them."""

import json
import time

import pytest

from pocketrec.cli import main
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_server.experiments import signing
from pocketrec_server.experiments.halted_arms import halt_arm, read_halted_arms
from pocketrec_server.halting import looks, outcomes
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look
from pocketrec_server.halting.release_limits import guarded_stages
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    halt,
    publish,
    read_policy,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import default_url, open_database

DAY_S = 86_400


class Place:
    def __init__(self, folder, runner):
        self.repo, self.signers = folder / "repo", load_signers(folder / "keys")
        self.folder, self.runner = folder, runner
        self.engine = open_database(default_url(self.repo))

    def run(self, *words, code=0):
        options = ("--repo", self.repo, "--keys", self.folder / "keys")
        done = self.runner.invoke(main, [str(word) for word in (*words, *options)])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    @property
    def one(self):
        return signing.read_experiments(self.repo, "stable").experiments[0]

    def look(self, day, z, networks=300):
        self.stored_look(subject_of("stable", self.one), "treatment", day, z, networks)

    def release_look(self, subject, day, z, networks=300):
        self.stored_look(subject, "release", day, z, networks)

    def stored_look(self, subject, arm, day, z, networks):
        now = int(time.time())
        assert looks.claim(self.engine, subject, day, now)
        assert not looks.claim(self.engine, subject, day, now)
        made = Look(
            subject=subject,
            arm=arm,
            guardrail="slate_ms 0.1 0.01",
            day=day,
            networks=networks,
            control=50.0,
            treatment=51.0,
            information=9.0,
            z=z,
            bound=4.0,
            broken=int(z > 4),
        )
        looks.finish(self.engine, subject, day, [made])


@pytest.fixture
def place(tiny_release, tmp_path, runner):
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    publish(tiny_release, tmp_path / "repo", load_signers(tmp_path / "keys"), "stable")
    found = Place(tmp_path, runner)
    yield found
    found.engine.dispose()


@pytest.fixture
def experiment(place):
    begin = int(time.time()) - DAY_S // 2
    arms = [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}]
    guardrail = {"metric": "slate_ms", "worse_by": 0.1, "alpha": 0.01}
    plan = {"id": "blend", "from_utc": begin, "until_utc": begin + 9 * DAY_S, "arms": arms}
    plan |= {"percent": 10, "guardrails": [guardrail]}
    signing.start(place.repo, place.signers, "stable", plan)
    return place


ADVANCE = ("experiment", "advance", "blend", "--steps", "10,50,100")


def test_an_experiment_advances_once_its_stage_was_looked_at(experiment):
    waits = experiment.run(*ADVANCE)
    assert "waits: slate_ms of arm treatment was not compared yet" in waits.stderr
    experiment.look(1, z=1.0, networks=60)
    assert "60 of 200 networks" in experiment.run(*ADVANCE).stderr
    more = (*ADVANCE, "--networks", 50)
    assert "no look 3 days after" in experiment.run(*more, "--days", 3).stderr
    assert experiment.one.percent == 10
    experiment.run(*more, "--days", 0)
    assert experiment.one.percent == 50
    assert "no look 1 days after" in experiment.run(*more).stderr
    experiment.look(2, z=1.0)
    experiment.run(*more, "--days", 0)
    assert experiment.one.percent == 100
    assert "is at its last stage" in experiment.run(*more).stderr


def test_an_experiment_with_harm_does_not_advance(experiment):
    experiment.look(1, z=4.1)
    refused = experiment.run(*ADVANCE, "--days", 0, code=3)
    assert "slate_ms of arm treatment is beyond its limit" in refused.output
    halt_arm(experiment.repo, experiment.signers, "stable", experiment.one, "treatment", "slow")
    assert "is halted: slow" in experiment.run(*ADVANCE, code=3).output
    assert experiment.one.percent == 10


def test_an_experiment_without_guardrails_is_never_judged(place):
    arms = [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}]
    plan = {"id": "blend", "until_utc": int(time.time()) + DAY_S, "arms": arms, "percent": 10}
    signing.start(place.repo, place.signers, "stable", plan)
    assert "has no guardrail" in place.run(*ADVANCE, code=2).output
    assert "rising percentages" in place.run(*ADVANCE[:-1], "50,10", code=2).output


def test_an_arm_is_halted_and_let_go_on_by_hand(experiment):
    said = experiment.run("experiment", "halt", "blend", "treatment", "--reason", "odd slates")
    assert "blend: arm treatment is halted: odd slates" in said.stdout
    assert read_halted_arms(experiment.repo, "stable").reason(experiment.one, "treatment")
    shown = experiment.runner.invoke(
        main, ["experiment", "status", "--repo", str(experiment.repo), "--json"]
    )
    (one,) = json.loads(shown.stdout)["experiments"]
    assert [arm["halted"] for arm in one["arms"]] == [None, "odd slates"]
    experiment.run("experiment", "unhalt", "blend", "treatment")
    assert read_halted_arms(experiment.repo, "stable").halted == ()
    wrong = experiment.run("experiment", "halt", "blend", "other", "--reason", "x", code=2)
    assert "no arm 'other'; its arms: control, treatment" in wrong.output


def test_a_status_shows_the_latest_looks(experiment):
    experiment.look(1, z=0.5)
    said = experiment.runner.invoke(main, ["experiment", "status", "--repo", str(experiment.repo)])
    assert "blend: treatment, day 1: slate_ms 51, 50 in control (300 networks)" in said.stdout


def test_a_release_advances_once_enough_networks_installed_it(place):
    (stage,) = read_policy(place.repo, "stable").releases
    words = ("rollout", "advance", stage.name, "--steps", "10,50,100", "--networks", 20)

    def limited(policy):
        limit = FailureLimit(of=10, share=0.1)
        return changed(policy, find(policy, stage.name), percent=10.0, most_failures=limit)

    assert place.run(*words).exit_code == 0  # at 100%: the last stage
    change_policy(
        place.repo,
        place.signers,
        "stable",
        lambda p: changed(p, p.releases[0], percent=10.0, most_failures=None),
    )
    assert "has no failure limit" in place.run(*words, code=2).output
    change_policy(place.repo, place.signers, "stable", limited)
    assert "0 of 20 networks reported" in place.run(*words, "--days", 0).stderr
    for n in range(24):
        told(place, stage.manifest, n, "installed")
    assert "younger than 1 days" in place.run(*words).stderr
    place.run(*words, "--days", 0)
    assert read_policy(place.repo, "stable").releases[0].percent == 50
    for n in range(24, 40):
        told(place, stage.manifest, n, "self_test_failed")
    assert "of devices failed" in place.run(*words, "--days", 0, code=3).output
    halt(place.repo, place.signers, "stable", stage.manifest, "bad")
    assert "is halted: bad" in place.run(*words, code=3).output
    assert read_policy(place.repo, "stable").releases[0].percent == 50


def told(place, manifest, n, outcome):
    row = {"id": f"{n:032x}", "manifest": manifest, "outcome": outcome}
    network = f"192.0.{n}.0/24"
    outcomes.count(place.engine, "stable", {manifest}, [row], time.time(), network=network)


def test_a_look_that_was_halted_for_is_not_halted_for_again(experiment):
    from pocketrec_server.halting import guard

    experiment.look(1, z=9.0)
    now = int(time.time())
    (halted,) = guard.once(experiment.repo, experiment.engine, experiment.signers, now)
    assert (halted.arm, halted.day) == ("treatment", 1)
    assert guard.once(experiment.repo, experiment.engine, experiment.signers, now) == []
    experiment.run("experiment", "unhalt", "blend", "treatment")
    assert guard.once(experiment.repo, experiment.engine, experiment.signers, now) == []
    assert read_halted_arms(experiment.repo, "stable").halted == ()
    experiment.look(2, z=9.0)
    assert len(guard.once(experiment.repo, experiment.engine, experiment.signers, now)) == 1
    kept = experiment.one
    signing.move(experiment.repo, experiment.signers, "stable", "blend", "stop")
    guard.once(experiment.repo, experiment.engine, experiment.signers, now)
    assert looks.looks(experiment.engine, subject_of("stable", kept)) == []


def test_a_release_waits_for_its_guardrails(place, named_releases):
    publish(named_releases[1], place.repo, place.signers, "stable", percent=10)
    words = ("rollout", "advance", "1", "--steps", "10,50,100")
    assert "no guardrail compares it" in place.run(*words, code=2).output
    guard = ("rollout", "guard", "--metric", "slate_ms", "--worse-by", 0.1)
    assert "belong together" in place.run(*guard[:4], code=2).output
    said = place.run(*guard, "--days", 7, "--by", "alice").stdout
    assert said == "stable: slate_ms 0.1 0.01 over 7 days\n"
    assert place.run("rollout", "guard").stdout == said
    (one,) = guarded_stages(place.repo, time.time())
    assert "slate_ms was not compared yet" in place.run(*words).stderr
    place.release_look(one.subject, 1, z=1.0, networks=60)
    assert "slate_ms: 60 of 200 networks" in place.run(*words).stderr
    more = (*words, "--networks", 50)
    assert "no look 2 days after" in place.run(*more, "--days", 2).stderr
    shown = place.runner.invoke(main, ["rollout", "show", "--repo", str(place.repo)]).stdout
    assert "1: release, day 1: slate_ms 51, 50 in earlier releases (60 networks)" in shown
    assert "releases are halted if slate_ms is 10% worse than in earlier ones" in shown
    place.run(*more)
    assert read_policy(place.repo, "stable").releases[0].percent == 50
    assert "was not compared yet" in place.run(*more).stderr  # the next stage
    (one,) = guarded_stages(place.repo, time.time())
    place.release_look(one.subject, 1, z=4.1)
    assert "slate_ms is beyond its limit" in place.run(*more, code=3).output
    gone = json.loads(place.run("rollout", "guard", "--remove", "slate_ms", "--json").stdout)
    assert gone["guardrails"] == []
