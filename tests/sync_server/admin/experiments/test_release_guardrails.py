"""Guardrails of releases edited on the site: what is signed, refused, and the commands for it."""

import html
import re
import shlex
from functools import partial

import pytest

from pocketrec.cli import main
from pocketrec_bundle.settings.experiment_arms import Guardrail
from pocketrec_server.admin import trail
from pocketrec_server.halting.release_limits import (
    change_guardrails,
    read_guardrails,
    with_guardrail,
)
from pocketrec_server.repository.keys import load_signers

CTR = Guardrail(metric="ctr", worse_by=0.05, alpha=0.01)
SLOW = Guardrail(metric="slate_ms", worse_by=0.2, alpha=0.001)


@pytest.fixture
def signers(tiny_repo, tmp_path):
    return load_signers(tmp_path / "keys")


def add(repo, signers, *guardrails):
    for one in guardrails:
        change_guardrails(repo, signers, "stable", partial(with_guardrail, added=one))


def ask(person, text, days="14"):
    sent = {"channel": "stable", "guardrails": text, "days": days}
    return person.client.get("/admin/guardrails/confirm", query_string=sent), sent


def save(person, text, days="14", reason="because"):
    page, sent = ask(person, text, days)
    (version,) = re.findall(r'name="version" value="([^"]+)"', page.text)
    data = sent | {"csrf": person.csrf(), "reason": reason, "version": version}
    return person.client.post("/admin/guardrails", data=data)


def test_guardrails_are_signed_and_in_the_history_once(alice, engine, tiny_repo):
    page, _ = ask(alice, "ctr 0.05 0.01\r\nslate_ms 0.2 0.001", "7")
    assert "ctr 0.05 0.01, slate_ms 0.2 0.001 over 7 days" in page.text
    reply = save(alice, "ctr 0.05 0.01\r\nslate_ms 0.2 0.001", "7", "as agreed")
    assert reply.status_code == 303
    assert "guardrails on stable: done" in (alice.client.get(reply.headers["Location"]).text)
    found = read_guardrails(tiny_repo, "stable")
    assert (found.guardrails, found.days) == ((CTR, SLOW), 7)
    lines = [one for one in trail.page(tiny_repo, engine, 99).lines if one.reason == "as agreed"]
    assert [(one.action, one.before, one.source) for one in lines] == [
        ("guardrails", "no guardrails", trail.SIGNED)
    ]
    form = alice.get("guardrails?channel=stable")
    assert ">ctr 0.05 0.01\nslate_ms 0.2 0.001</textarea>" in form and 'value="7"' in form


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("ctr 0.05 0.01\nfailures 0.5 0.02", "14"),
        ("slate_ms 0.3 0.001", "20"),
        ("", "14"),
        ("ctr 0.05 0.01\nslate_ms 0.2 0.001", "5"),
    ],
    ids=["another one", "one changed, one removed", "removed", "days"],
)
def test_without_the_key_the_page_shows_commands_that_do_the_same(
    tiny_repo, engine, signers, make_app, token_of, log_in, runner, tmp_path, text, days
):
    add(tiny_repo, signers, CTR, SLOW)
    keyless, before = (
        log_in(make_app(tiny_repo), token_of(engine)[0]),
        read_guardrails(tiny_repo, "stable"),
    )
    page, sent = ask(keyless, text, days)
    (commands,) = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page.text)
    data = sent | {"csrf": keyless.csrf(), "reason": "x", "version": "0"}
    assert keyless.client.post("/admin/guardrails", data=data).status_code == 409
    assert read_guardrails(tiny_repo, "stable") == before
    there = {"repo/": str(tiny_repo), "keys/": str(tmp_path / "keys"), "TEXT": "because"}
    for command in html.unescape(commands).split(" && "):
        words = [there.get(word, word) for word in shlex.split(command)]
        done = runner.invoke(main, words[1:])
        assert done.exit_code == 0, done.output
    after = read_guardrails(tiny_repo, "stable")
    wanted = {f"{one.metric} {one.worse_by:g} {one.alpha:g}" for one in after.guardrails}
    assert (wanted, str(after.days)) == (set(text.splitlines()), days)


@pytest.mark.parametrize(
    ("text", "days", "problem"),
    [
        ("", "14", "nothing changes"),
        ("ctr 0.1", "14", "expected a metric, the tolerated change and alpha"),
        ("ctr 0.1 0.9", "14", "alpha"),
        ("revenue 0.1 0.01", "14", "metric"),
        ("ctr 0.1 0.01\nctr 0.2 0.01", "14", "a metric stands twice"),
        ("ctr 0.1 0.01", "many", "whole number"),
        ("ctr 0.1 0.01", "366", "days"),
    ],
)
def test_guardrails_that_are_not_valid_give_the_form_back(alice, tiny_repo, text, days, problem):
    page, _ = ask(alice, text, days)
    assert page.status_code == 400, page.text
    shown = html.unescape(page.text)
    assert problem in shown and "Show the change" in shown and text in shown
    assert read_guardrails(tiny_repo, "stable").guardrails == ()


def test_another_order_of_lines_changes_nothing(alice, tiny_repo, signers):
    add(tiny_repo, signers, CTR, SLOW)
    page, _ = ask(alice, "slate_ms 0.2 0.001\nctr 0.05 0.01")
    assert page.status_code == 400 and "nothing changes" in page.text


def test_an_outdated_form_another_session_and_a_reader_change_nothing(
    alice, tiny_repo, engine, signers, make_app, token_of, log_in
):
    page, sent = ask(alice, "failures 0.5 0.02")
    (version,) = re.findall(r'name="version" value="([^"]+)"', page.text)
    data = sent | {"csrf": "0" * 64, "reason": "x", "version": version}
    assert alice.client.post("/admin/guardrails", data=data).status_code == 403
    change_guardrails(tiny_repo, signers, "stable", lambda now: with_guardrail(now, CTR))
    data["csrf"] = alice.csrf()
    reply = alice.client.post("/admin/guardrails", data=data)
    assert (reply.status_code, "were changed after" in reply.text) == (409, True)
    assert read_guardrails(tiny_repo, "stable").guardrails == (CTR,)
    reader = log_in(make_app(tiny_repo), token_of(engine, "read")[0])
    assert reader.client.get("/admin/guardrails?channel=stable").status_code == 403
    assert "admin/guardrails" not in reader.get("releases")
    assert alice.client.get("/admin/guardrails?channel=nothing").status_code == 404
