"""The buttons that halt an arm and end its halt: what they sign, by which key, and the history."""

import html
import re
import shlex
import time

import pytest

from pocketrec.cli import main
from pocketrec_server.admin import trail
from pocketrec_server.auth import audit
from pocketrec_server.experiments.halted_arms import halt_arm, halts_of
from pocketrec_server.halting.guard import subject_of
from pocketrec_server.halting.looks import Look, finish, name_of
from pocketrec_server.repository.keys import load_signers


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def keys_of(folder, *names):
    """A folder with some of the keys."""
    chosen = folder / "-".join(names)
    chosen.mkdir()
    for name in (*names, "snapshot", "timestamp"):
        (chosen / f"{name}.pem").write_bytes((folder / "keys" / f"{name}.pem").read_bytes())
        (chosen / f"{name}.pem").chmod(0o600)
    return chosen


def test_an_arm_is_halted_and_goes_on_again(alice, engine, tiny_repo, running, confirm, press):
    page, _ = confirm(alice, "halt", arm="treatment")
    assert "The other arms go on" in page and "<b>halted</b>" in page
    reply = press(alice, "halt", "slow slates", arm="treatment")
    assert reply.status_code == 303
    assert halts_of(tiny_repo, "stable", running) == {"treatment": "slow slates"}
    done = text_of(alice.client.get(reply.headers["Location"]).text)
    assert "experiment-halt of blend treatment: done" in done
    assert "Arm treatment is halted: slow slates" in done
    assert "End the halt of treatment" in done and "Halt treatment" not in done
    assert press(alice, "unhalt", "false alarm", arm="treatment").status_code == 303
    assert halts_of(tiny_repo, "stable", running) == {}
    found = trail.page(tiny_repo, engine, 100).lines
    halts = [
        (one.action, one.subject, one.before, one.after, one.reason, one.source)
        for one in found
        if one.action in ("experiment-halt", "experiment-unhalt")
    ]
    subject = "blend treatment"
    assert halts == [
        ("experiment-unhalt", subject, "halted", "offered", "false alarm", trail.SIGNED),
        ("experiment-halt", subject, "offered", "halted", "slow slates", trail.SIGNED),
    ]


def test_the_key_of_the_brake_is_enough_to_halt_and_needed_for_it(
    tiny_repo, engine, running, make_app, token_of, log_in, tmp_path, press, confirm
):
    token = token_of(engine)[0]
    brake = log_in(make_app(tiny_repo, keys_of(tmp_path, "brake")), token)
    assert press(brake, "halt", arm="treatment").status_code == 303
    assert "does not have the keys" in confirm(brake, "stop")[0]
    channel = log_in(make_app(tiny_repo, keys_of(tmp_path, "stable")), token)
    assert "does not have the keys" in confirm(channel, "unhalt", arm="treatment")[0]
    assert "does not have the keys" not in confirm(channel, "stop")[0]


def test_without_the_key_the_page_shows_a_command_that_halts(
    tiny_repo, engine, running, make_app, token_of, log_in, runner, tmp_path, confirm
):
    keyless = log_in(make_app(tiny_repo), token_of(engine)[0])
    for action in ("halt", "unhalt"):
        page, sent = confirm(keyless, action, arm="treatment")
        (command,) = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page)
        there = {"repo/": str(tiny_repo), "keys/": str(tmp_path / "keys"), "TEXT": "because"}
        words = [there.get(word, word) for word in shlex.split(html.unescape(command))]
        before = halts_of(tiny_repo, "stable", running)
        data = sent | {"csrf": keyless.csrf(), "reason": "x", "version": "0"}
        assert keyless.client.post("/admin/experiments/actions", data=data).status_code == 409
        done = runner.invoke(main, words[1:])
        assert done.exit_code == 0, done.output
        assert halts_of(tiny_repo, "stable", running) != before


def test_a_page_that_shows_no_halt_does_not_act_on_a_halted_arm(
    alice, tiny_repo, running, confirm, tmp_path
):
    page, sent = confirm(alice, "stop")
    (version,) = re.findall(r'name="version" value="([^"]+)"', page)
    halt_arm(tiny_repo, load_signers(tmp_path / "keys"), "stable", running, "treatment", "slow")
    data = sent | {"csrf": alice.csrf(), "reason": "x", "version": version}
    reply = alice.client.post("/admin/experiments/actions", data=data)
    assert (reply.status_code, "was changed after" in reply.text) == (409, True)
    assert "This arm is halted: slow." in confirm(alice, "ship", arm="treatment")[0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("action=halt", 400),
        ("action=halt&arm=third", 409),
        ("action=unhalt&arm=treatment", 409),
        ("action=halt&arm=NO%20NAME", 400),
    ],
)
def test_halts_that_are_impossible_are_refused(alice, running, query, status):
    page = alice.client.get(f"/admin/experiments/confirm?channel=stable&experiment=blend&{query}")
    assert page.status_code == status, page.text


def test_a_form_of_another_session_halts_no_arm(alice, tiny_repo, running, confirm):
    page, sent = confirm(alice, "halt", arm="treatment")
    (version,) = re.findall(r'name="version" value="([^"]+)"', page)
    data = sent | {"csrf": "0" * 64, "reason": "x", "version": version}
    assert alice.client.post("/admin/experiments/actions", data=data).status_code == 403
    assert halts_of(tiny_repo, "stable", running) == {}


def test_a_halt_by_the_server_is_in_the_history_once(engine, tiny_repo, running, tmp_path):
    signers, subject = load_signers(tmp_path / "keys"), "stable blend treatment"
    with audit.noted(engine, audit.SERVER, "experiment-halt", subject, reason="slow"):
        halt_arm(tiny_repo, signers, "stable", running, "treatment", "slow", by=audit.SERVER)
    lines = trail.page(tiny_repo, engine, 100).lines
    halts = [one for one in lines if one.action == "experiment-halt"]
    assert [(one.who, one.subject, one.source) for one in halts] == [
        ("server", "blend treatment", trail.SIGNED)
    ]


def test_a_halt_that_failed_names_experiment_and_arm(engine, tiny_repo, running):
    subject = "stable blend treatment"
    with (
        pytest.raises(ValueError, match="disk"),
        audit.noted(engine, audit.SERVER, "experiment-halt", subject),
    ):
        raise ValueError("disk full")
    (one,) = [
        one for one in trail.page(tiny_repo, engine, 100).lines if one.action == "experiment-halt"
    ]
    assert (one.subject, one.place, one.source) == ("blend treatment", "stable", trail.NOTED)


def test_looks_at_guardrails_are_a_table_and_old_limits_are_left_out(alice, engine, running):
    made = Look(
        subject=subject_of("stable", running),
        arm="treatment",
        guardrail=name_of(running.guardrails[0]),
        day=3,
        networks=812,
        control=0.1,
        treatment=0.0804,
        information=1.0,
        z=3.456,
        bound=3.2,
        broken=1,
        halted_utc=int(time.time()),
    )
    old = Look(
        **{name: getattr(made, name) for name in Look.__dataclass_fields__}
        | {"guardrail": "ctr 0.2 0.01"}
    )
    finish(engine, made.subject, 3, [made, old])
    text = text_of(alice.get("experiments"))
    assert "treatment Conversion 5% worse 10.00% 8.04% 3.46 3.20 812 3" in text
    assert text.count("5% worse") == 1 and "20% worse" not in text
