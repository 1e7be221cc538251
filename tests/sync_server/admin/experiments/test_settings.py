"""Settings of an experiment edited on the site: what is signed, refused, and the command for it."""

import html
import re
import shlex
import time
from datetime import UTC, datetime

import pytest

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_server.admin import trail
from pocketrec_server.admin.experiments.edits import texts
from pocketrec_server.experiments.signing import ramp
from pocketrec_server.repository.keys import load_signers

PLACE = {"channel": "stable", "experiment": "blend"}
LATER = int(time.time()) // 60 * 60 + 20 * 86_400
MOMENT = datetime.fromtimestamp(LATER, UTC).strftime("%Y-%m-%dT%H:%MZ")


def ask(person, one, **changes):
    """Send the form; its answer is the page that asks for a reason, or the form with a problem."""
    sent = PLACE | texts(one) | changes
    return person.client.get("/admin/experiments/edit/confirm", query_string=sent), sent


def save(person, one, reason="because", **changes):
    page, sent = ask(person, one, **changes)
    (version,) = re.findall(r'name="version" value="([^"]+)"', page.text)
    data = sent | {"csrf": person.csrf(), "reason": reason, "version": version}
    return person.client.post("/admin/experiments/edits", data=data)


def test_the_form_has_the_present_settings(alice, running):
    page = alice.get("experiments/edit?channel=stable&experiment=blend")
    assert "bigger &lt;b&gt;titles" in page
    assert ">conversion 0.05 0.01</textarea>" in page
    assert "experiments/edit?channel=stable&amp;experiment=blend" in alice.get("experiments")


def test_new_settings_are_signed_and_devices_keep_their_arms(
    alice, engine, running, tiny_repo, signed
):
    changes = {"guardrails": "ctr 0.1 0.01\r\nslate_ms 0.5 0.001\r\n", "ends": MOMENT}
    page, _ = ask(alice, running, **changes)
    assert "guardrails conversion 0.05 0.01" in page.text
    assert f"until {MOMENT}; guardrails ctr 0.1 0.01, slate_ms 0.5 0.001" in page.text
    assert save(alice, running, "too strict", **changes).status_code == 303
    assert signed().guardrails == (
        Guardrail(metric="ctr", worse_by=0.1, alpha=0.01),
        Guardrail(metric="slate_ms", worse_by=0.5, alpha=0.001),
    )
    assert (signed().until_utc, signed().salt) == (LATER, running.salt)
    lines = [one for one in trail.page(tiny_repo, engine, 9).lines if one.reason == "too strict"]
    assert [(one.action, one.source) for one in lines] == [("experiment-start", trail.SIGNED)]
    assert "guardrails conversion 0.05 0.01" in lines[0].before
    assert "ctr 0.1 0.01, slate_ms 0.5 0.001" in lines[0].after


@pytest.mark.parametrize(
    "changes",
    [
        {"guardrails": "ctr 0.1 0.01\nfailures 0.25 0.05"},
        {"guardrails": ""},
        {"ends": MOMENT, "hypothesis": "-x 'quoted' \"text\""},
        {"percent": "50", "ramp": f"{MOMENT}=75.5"},
        {"ramp": ""},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_without_the_key_the_page_shows_a_command_that_does_the_same(
    tiny_repo, engine, running, make_app, token_of, log_in, runner, tmp_path, changes, signed
):
    signers = load_signers(tmp_path / "keys")
    if changes == {"ramp": ""}:
        ramp(tiny_repo, signers, "stable", "blend", None, ((LATER, 100.0),))
    else:
        start_small(tiny_repo, signers, signed)
    keyless, before = log_in(make_app(tiny_repo), token_of(engine)[0]), signed()
    page, sent = ask(keyless, before, **changes)
    (command,) = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page.text)
    data = sent | {"csrf": keyless.csrf(), "reason": "x", "version": "0"}
    assert keyless.client.post("/admin/experiments/edits", data=data).status_code == 409
    there = {"repo/": str(tiny_repo), "keys/": str(tmp_path / "keys"), "TEXT": "because"}
    words = [there.get(word, word) for word in shlex.split(html.unescape(command))]
    assert signed() == before
    done = runner.invoke(main, words[1:])
    assert done.exit_code == 0, done.output
    wanted = {name: " ".join(text.split()) for name, text in (texts(before) | changes).items()}
    assert {name: " ".join(text.split()) for name, text in texts(signed()).items()} == wanted


def start_small(repo, signers, signed):
    """Let the experiment enrol a tenth, so that its percentage can rise."""
    from pocketrec_server.experiments.signing import start

    one = signed()
    arms = [{"name": arm.name, "share": arm.share, "flags": dict(arm.flags)} for arm in one.arms]
    plan = {"id": one.id, "hypothesis": one.hypothesis, "arms": arms, "percent": 10.0}
    plan |= {"until_utc": one.until_utc, "guardrails": [vars_of(each) for each in one.guardrails]}
    start(repo, signers, "stable", plan, new_salt=True)


def vars_of(rail):
    return {"metric": rail.metric, "worse_by": rail.worse_by, "alpha": rail.alpha}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "nothing changes"),
        ({"percent": "50"}, "devices would leave"),
        ({"percent": "many"}, "expected a number"),
        ({"ends": "soon"}, "expected a time"),
        ({"ends": "2020-01-01"}, "hours before now"),
        ({"ramp": "25"}, "expected a time and a percentage"),
        ({"guardrails": "ctr 0.1"}, "expected a metric, the tolerated change and alpha"),
        ({"guardrails": "revenue 0.1 0.01"}, "metric"),
        ({"guardrails": "ctr 0.1 0.9"}, "alpha"),
        ({"guardrails": "ctr 0.1 0.01\nctr 0.1 0.02"}, "two guardrails"),
        ({"guardrails": "\n".join(["ctr 0.1 0.01"] * 9)}, "at most 8"),
    ],
)
def test_settings_that_are_not_valid_give_the_form_back(alice, running, signed, changes, problem):
    page, _ = ask(alice, running, **changes)
    assert page.status_code == 400, page.text
    text = html.unescape(page.text)
    assert problem in text and "Show the change" in text
    for typed in changes.values():
        assert typed in text
    assert signed() == running


def test_an_outdated_form_and_one_of_another_session_change_nothing(alice, running, signed, press):
    page, sent = ask(alice, running, hypothesis="other")
    (version,) = re.findall(r'name="version" value="([^"]+)"', page.text)
    data = sent | {"csrf": "0" * 64, "reason": "x", "version": version}
    assert alice.client.post("/admin/experiments/edits", data=data).status_code == 403
    press(alice, "pause")
    data["csrf"] = alice.csrf()
    reply = alice.client.post("/admin/experiments/edits", data=data)
    assert (reply.status_code, "was changed after" in reply.text) == (409, True)
    assert signed().hypothesis == running.hypothesis


def test_an_experiment_that_ended_and_an_unknown_one_have_no_form_to_confirm(alice, running, press):
    press(alice, "stop")
    page, _ = ask(alice, running, hypothesis="other")
    assert page.status_code == 400 and "Start it again" in page.text
    assert "experiments/edit?" not in alice.get("experiments")
    reply = alice.client.get("/admin/experiments/edit?channel=stable&experiment=other")
    assert reply.status_code == 404


def test_readers_have_no_form(tiny_repo, engine, running, make_app, token_of, log_in):
    reader = log_in(make_app(tiny_repo), token_of(engine, "read")[0])
    assert "experiments/edit" not in reader.get("experiments")
    reply = reader.client.get("/admin/experiments/edit?channel=stable&experiment=blend")
    assert reply.status_code == 403
