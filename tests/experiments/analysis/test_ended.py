"""Experiments that were stopped, killed or shipped before their planned end."""

import dataclasses

import pytest
from click.testing import CliRunner

from benchmarks.experiments.drawn_events import START_UTC, Drawn, write_events
from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Experiments
from pocketrec_bundle.settings.halted_arms import HaltedArm, HaltedArms
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design, Settings, experiment_report

CTR = Settings(metric="ctr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ended")
    write_events(folder, Drawn(users=400, days=6, past_days=1, joining_days=2, seed=5))
    return folder


def test_a_killed_experiment_does_not_keep_running(folder, design_of):
    report = experiment_report(
        design=design_of(days=14, state="killed"), events=folder, settings=CTR
    )
    assert report.verdict.kind == "ended"
    assert report.verdict.word == "Ended without a verdict"
    assert "The experiment ended: killed." in report.verdict.sentence
    assert "--until" in report.verdict.sentence
    assert "although you look" not in report.verdict.sentence
    assert any("its end is not known" in note for note in report.notes)


def test_days_after_a_ship_are_left_out(folder, design_of):
    design = design_of(days=14, state="shipped", winner="treatment")
    known = dataclasses.replace(design, ended_utc=START_UTC + 3 * DAY_S)
    whole = experiment_report(design=design, events=folder, settings=CTR)
    report = experiment_report(design=known, events=folder, settings=CTR)
    assert (whole.days, report.days) == (6, 3)
    assert report.end_utc == START_UTC + 3 * DAY_S
    assert "The experiment ended on day 3: shipped treatment." in report.verdict.sentence
    assert "--until" not in report.verdict.sentence


def test_a_halted_arm_does_not_keep_running_and_its_reason_is_told(folder, design_of):
    open_one = design_of(days=14)
    assert experiment_report(design=open_one, events=folder, settings=CTR).verdict.word == (
        "Keep running"
    )
    halted = dataclasses.replace(open_one, halted={"treatment": "ctr is 0.1 (day 2)"})
    report = experiment_report(design=halted, events=folder, settings=CTR)
    assert (report.verdict.kind, report.verdict.word) == ("halted", "treatment is halted")
    assert report.verdict.sentence.endswith("Arm treatment is halted: ctr is 0.1 (day 2).")
    assert report.verdict.tone == "bad"
    assert report.notes[0].startswith("Arm treatment is halted: ctr is 0.1 (day 2). Its devices")
    strict = dataclasses.replace(CTR, least_users=1000)
    few = experiment_report(design=halted, events=folder, settings=strict).verdict
    assert (few.kind, few.arm) == ("too few users", None)
    assert "Arm treatment is halted" in few.sentence


def test_halts_of_another_draw_do_not_count():
    arms = (Arm(name="a", share=0.5), Arm(name="b", share=0.5))
    one = Experiment(
        id="blend",
        hypothesis="",
        salt="5a" * 16,
        layer="ranking",
        segment=(0.0, 1.0),
        state="running",
        from_utc=1000,
        until_utc=9000,
        arms=arms,
    )
    channel = Experiments(channel="stable", experiments=(one,))
    for salt, expected in ((one.salt, {"b": "slow"}), ("5b" * 16, {})):
        halt = HaltedArm(experiment="blend", salt=salt, arm="b", reason="slow", since_utc=2000)
        found = Design.of(channel, "blend", halts=HaltedArms(halted=(halt,)))
        assert found.halted == expected


def test_the_state_is_that_of_the_channel(tmp_path):
    arms = (Arm(name="a", share=0.5), Arm(name="b", share=0.5))
    signed = Experiment(
        id="blend",
        hypothesis="",
        salt="5a" * 16,
        layer="ranking",
        segment=(0.0, 1.0),
        state="shipped",
        winner="b",
        from_utc=1000,
        until_utc=9000,
        arms=arms,
    )
    channel = Experiments(channel="stable", experiments=(signed,))
    design = Design.of(channel, "blend", 5000)
    assert (design.state, design.winner, design.data_until_utc) == ("shipped", "b", 5000)
    with pytest.raises(InputError, match="its end 1000 is not after its start 1000"):
        Design.of(channel, "blend", 1000)
    file = tmp_path / "experiments.json"
    file.write_bytes(channel.to_bytes())
    words = ["experiment", "report", "blend", "--events", str(tmp_path), "--experiments", str(file)]
    done = CliRunner().invoke(main, [*words, "--until", "1970-01-01T00:15Z"])
    assert done.exit_code == 2 and "its end 900 is not after its start 1000" in done.output
