"""Experiments in the attention line: shares that do not fit, no decision, no look at guardrails."""

import time
from typing import Any

import pytest

from pocketrec_server.admin.attention import entries, notices
from pocketrec_server.experiments.signing import move, start
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import LATE_S, Look, claim, finish, name_of
from pocketrec_server.repository.keys import load_signers

DAY_S = 86_400


@pytest.fixture
def said(tiny_repo, engine):
    """Return a function: time -> (level, text, page) of the line, but of releases."""

    def read(now):
        found = entries(tiny_repo, engine, now)
        return [(one.level, one.text, one.page) for one in found if not one.manifest]

    return read


def test_a_sound_experiment_needs_no_attention(running, said):
    assert said(time.time()) == []


def test_devices_that_do_not_fit_the_shares_are_an_entry(
    running, said, expose, tiny_repo, engine, tmp_path
):
    expose(running, "control", 60, 1)
    expose(running, "treatment", 15, 100)
    # chi-square of 60 and 15 against 37.5 each is 27: p = erfc(sqrt(13.5)).
    text = "The devices of blend on stable do not match the shares of its arms (p = 2e-07)"
    assert said(time.time()) == [("bad", text, "experiments")]
    assert [one.key for one in notices(tiny_repo, engine, time.time())] == [
        "failing stable blend/ bad"
    ]
    move(tiny_repo, load_signers(tmp_path / "keys"), "stable", "blend", "stop")
    assert said(time.time()) == []


def test_an_experiment_that_is_over_waits_for_a_decision(running, said, tiny_repo, tmp_path):
    now = running.until_utc + 3 * DAY_S
    text = "blend on stable ended 3 days ago and waits for a decision: ship an arm or stop it"
    assert said(now) == [("warn", text, "experiments")]
    move(tiny_repo, load_signers(tmp_path / "keys"), "stable", "blend", "pause")
    assert said(now) == [("warn", text, "experiments")]
    move(tiny_repo, load_signers(tmp_path / "keys"), "stable", "blend", "stop")
    assert said(now) == []


def test_guardrails_that_were_not_compared_are_a_low_sample(running, said, engine):
    soon, later = (running.from_utc + days * DAY_S + LATE_S for days in (1, 2))
    keys = "no look at its guardrails; the server needs the keys of brake, snapshot and timestamp"
    assert said(soon) == []
    assert said(later) == [("warn", f"blend on stable: {keys}", "experiments")]
    subject = subject_of("stable", running)
    claim(engine, subject, 1, int(later))
    finish(engine, subject, 1, [])
    found = "treatment, day 1: no look at conversion: fewer than 50 networks in an arm, or nothing"
    assert said(later) == [("warn", f"blend on stable: {found} varies", "experiments")]
    figures: dict[str, Any] = {"z": 0.0, "bound": 9.0, "broken": 0}
    look = {"subject": subject, "arm": "treatment", "guardrail": name_of(running.guardrails[0])}
    facts = figures | look | {"networks": 60, "control": 0.1, "treatment": 0.1, "information": 1.0}
    claim(engine, subject, 2, int(later))
    finish(engine, subject, 2, [Look(**facts, day=2)])
    assert said(later) == []


def test_an_experiment_without_guardrails_lacks_no_look(running, said, tiny_repo, tmp_path):
    arms = [{"name": "control", "share": 0.5}, {"name": "treatment", "share": 0.5}]
    plan = {"id": "blend", "arms": arms, "until_utc": running.until_utc}
    start(tiny_repo, load_signers(tmp_path / "keys"), "stable", plan, new_salt=True)
    assert said(running.from_utc + 5 * DAY_S) == []
