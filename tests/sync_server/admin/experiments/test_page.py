"""The page of experiments: what it shows, what its buttons sign, and the command without a key."""

import html
import re
import shlex
import time
from dataclasses import replace

import pytest

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_server.admin.attention.figures import bounds, exposed
from pocketrec_server.experiments.results import ArmResult, Results, store_results
from pocketrec_server.repository.history import policy_history


def test_an_experiment_is_listed_with_arms_devices_bounds_and_guardrails(
    alice, engine, running, expose
):
    expose(running, "control", 6, 1)
    expose(running, "treatment", 5, 10)
    expose(running, "treatment", 3, 20, forced=True)
    expose(running, "control", 3, 30, salt="0" * 8)
    page = alice.get("experiments")
    assert "bigger &lt;b&gt;titles" in page
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "control 50% 6 nothing differs" in text
    assert "treatment 50% 5 flag big = True" in text
    assert "treatment Conversion 5% worse no look yet" in text
    assert "do not match the shares" not in text
    arms, times = ("control", "treatment"), (running.from_utc, running.until_utc)
    assert exposed(engine, "blend", "f" * 32, arms, times, 0) == dict.fromkeys(arms, 0)
    before = (running.from_utc, running.from_utc + 5)  # the end is exclusive
    assert exposed(engine, "blend", running.salt, arms, before, 0) == dict.fromkeys(arms, 0)


def published(engine, one, age_s=3 * 3600, **changes):
    """Publish results of an experiment, as `experiment report --publish` does."""
    treatment = ArmResult(
        arm="treatment", users=510, value=0.0923, change=0.1, low=-0.02, high=0.24, z=2.4, bound=2.9
    )
    made = Results(
        experiment=one.id,
        salt=one.salt,
        metric="ctr",
        computed_utc=int(time.time()) - age_s,
        until_utc=one.from_utc + 86_400,
        days=1,
        planned_days=28,
        word="Keep running",
        sentence="treatment: <up> 10%.",
        tone="unsure",
        sample_ratio_p=0.7,
        arms=(ArmResult(arm="control", users=490, value=0.0839), treatment),
    )
    store_results(engine, "stable", replace(made, **changes))


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


COMMAND = (
    "pocketrec experiment report blend --events events/ --channel stable --repo repo/ --publish"
)


def test_results_are_shown_with_interval_bound_and_age(alice, engine, running):
    assert f"No report is published. Export the events, then run: {COMMAND}" in text_of(
        alice.get("experiments")
    )
    published(engine, running)
    page = alice.get("experiments")
    assert "treatment: &lt;up&gt; 10%" in page
    text = text_of(page)
    assert "Keep running . treatment" in text
    assert "control 490 8.39% reference" in text
    assert "treatment 510 9.23% +10.0% -2.0% to +24.0% 2.40 ±2.90" in text
    assert "Day 1 of 28" in text and "computed 3 hours ago" in text
    assert "p = 0.7." in text
    assert "No report" not in text and COMMAND not in text


def test_old_results_of_an_open_experiment_say_how_to_renew_them(alice, engine, running, press):
    published(engine, running, age_s=3 * 86_400)
    text = text_of(alice.get("experiments"))
    assert "The results lack newer events" in text and COMMAND in text
    press(alice, "stop")
    text = text_of(alice.get("experiments"))
    assert "Keep running" in text and "The results lack newer events" not in text


def test_results_that_cannot_be_known_and_a_mismatch_are_words(alice, engine, running):
    arms = (ArmResult(arm="control", users=3), ArmResult(arm="treatment", users=90, value=0.1))
    published(engine, running, arms=arms, sample_ratio_p=1e-9)
    text = text_of(alice.get("experiments"))
    assert "control 3 unknown reference" in text
    assert "treatment 90 10.00% unknown" in text
    assert "p = 1e-09, so the numbers of users do not match the shares" in text


def test_devices_that_do_not_match_the_shares_are_a_warning(alice, engine, running, expose):
    expose(running, "control", 60, 1)
    expose(running, "treatment", 20, 100)
    assert "do not match the shares" in alice.get("experiments")


def test_the_bounds_are_those_of_the_published_tables():
    """Daily looks: 2.963 and 1.969 of 2; 2.359 and 2.014 end 4 (Lan and DeMets 1983)."""
    arms = (Arm(name="control", share=0.5), Arm(name="treatment", share=0.5))
    one = Experiment(
        id="x",
        hypothesis="",
        salt="a" * 32,
        layer="l",
        segment=(0.0, 1.0),
        state="running",
        from_utc=1000,
        until_utc=1000 + 2 * 86_400,
        arms=arms,
    )
    assert bounds(one, 2000) == pytest.approx((2.963, 1.969), abs=1e-3)
    assert bounds(one, 1e9) == pytest.approx((1.969, 1.969), abs=1e-3)
    assert bounds(one, 500) is None
    four = replace(one, until_utc=1000 + 4 * 86_400)
    assert bounds(four, 1000 + 2.5 * 86_400) == pytest.approx((2.359, 2.014), abs=2e-3)
    third = Arm(name="third", share=0.0)
    short = replace(one, until_utc=3000, arms=(*arms, third))  # one look, 0.05 / 2 a treatment
    assert bounds(short, 2000) == pytest.approx((2.2414, 2.2414), abs=1e-3)
    assert bounds(replace(one, until_utc=1000 + 1001 * 86_400), 2000) is None


def test_buttons_sign_with_the_key_and_the_history_has_them_once(
    alice, tiny_repo, running, signed, press
):
    reply = press(alice, "stop", "enough data")
    assert reply.status_code == 303
    assert signed().state == "stopped"
    assert "experiment-stop of blend: done" in alice.client.get(reply.headers["Location"]).text
    change = policy_history(tiny_repo, "stable")[0]
    assert (change.action, change.by) == ("experiment-stop", "alice (site)")
    assert alice.get("history").count("enough data") == 1
    assert press(alice, "ship", arm="treatment").status_code == 303
    found = signed()
    assert (found.state, found.winner) == ("shipped", "treatment")
    assert "<b>shipped</b>" in alice.get("experiments")


def test_an_outdated_page_and_an_impossible_action_sign_nothing(
    alice, tiny_repo, running, signed, press, confirm
):
    page, sent = confirm(alice, "kill")
    (version,) = re.findall(r'name="version" value="([^"]+)"', page)
    press(alice, "pause")
    data = sent | {"csrf": alice.csrf(), "reason": "x", "version": version}
    reply = alice.client.post("/admin/experiments/actions", data=data)
    assert (reply.status_code, "was changed after" in reply.text) == (409, True)
    assert signed().state == "paused"
    query = "channel=stable&experiment=blend&action=pause"
    assert alice.client.get(f"/admin/experiments/confirm?{query}").status_code == 409


@pytest.mark.parametrize(("action", "arm"), [("stop", ""), ("ship", "treatment")])
def test_without_the_key_the_page_shows_a_command_that_does_it(
    tiny_repo,
    engine,
    running,
    make_app,
    token_of,
    log_in,
    runner,
    tmp_path,
    action,
    arm,
    signed,
    confirm,
):
    keyless = log_in(make_app(tiny_repo), token_of(engine)[0])
    page, _ = confirm(keyless, action, **({"arm": arm} if arm else {}))
    (command,) = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page)
    there = {"repo/": str(tiny_repo), "keys/": str(tmp_path / "keys"), "TEXT": "because"}
    words = [there.get(word, word) for word in shlex.split(html.unescape(command))]
    done = runner.invoke(main, words[1:])
    assert done.exit_code == 0, done.output
    state = signed().state
    assert state == {"stop": "stopped", "ship": "shipped"}[action]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("channel=stable&experiment=blend&action=start", 400),
        ("channel=stable&experiment=blend&action=ship", 400),
        ("channel=stable&experiment=blend&action=stop&arm=control", 400),
        ("channel=stable&experiment=other&action=stop", 404),
        ("channel=nothing&experiment=blend&action=stop", 404),
        ("channel=stable&experiment=blend&action=ship&arm=third", 409),
    ],
)
def test_unknown_actions_experiments_and_arms_are_refused(alice, running, query, status):
    assert alice.client.get(f"/admin/experiments/confirm?{query}").status_code == status


def test_readers_see_experiments_and_change_none(
    tiny_repo, engine, running, make_app, token_of, log_in
):
    reader = log_in(make_app(tiny_repo), token_of(engine, "read")[0])
    page = reader.get("experiments")
    assert "blend" in page and "experiments/confirm" not in page
    query = "channel=stable&experiment=blend&action=stop"
    assert reader.client.get(f"/admin/experiments/confirm?{query}").status_code == 403


def test_a_server_without_experiments_says_how_to_start_one(alice):
    assert "pocketrec experiment start" in alice.get("experiments")
