"""Actions of the site: a page asks for a reason, and does nothing if the channel changed since."""

import html
import re
import shlex
import shutil

import click
import pytest

from pocketrec import cli
from pocketrec_bundle.settings.rollout import KILLED
from pocketrec_server.auth import audit
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import (
    change_policy,
    halt,
    read_halts,
    read_policy,
    refresh,
)
from pocketrec_server.repository.rollout import changed
from pocketrec_server.storage.database import default_url, open_database

SERVER_KEYS = ("snapshot", "timestamp", "brake")
KINDS = ("percent", "pause", "kill", "rollback", "halt", "unhalt", "resume")


@pytest.fixture
def engine(tiny_repo):
    return open_database(default_url(tiny_repo))


def first(repo):
    return read_policy(repo, "stable").releases[0]


@pytest.mark.parametrize(
    ("action", "more", "state", "percent", "change"),
    [
        ("pause", {}, "paused", 20, ("active", "paused")),
        ("kill", {}, "killed", 20, ("active", "killed")),
        ("percent", {"percent": "62.5"}, "active", 62.5, ("20%", "62.5%")),
    ],
)
def test_an_action_is_confirmed_with_a_reason_and_changes_the_signed_policy(
    alice, engine, tiny_repo, two_releases, action, more, state, percent, change
):
    wanted = ("stable", action, two_releases[0])
    asked = alice.ask(*wanted, **more)
    assert asked.status_code == 200
    for text in ("second", two_releases[0][:12], *change, 'name="reason"', "Cancel"):
        assert text in asked.text
    assert first(tiny_repo).state == "active" and first(tiny_repo).percent == 20
    done = alice.press(*wanted, reason="too slow on old phones", **more)
    assert done.status_code == 303
    assert (first(tiny_repo).state, first(tiny_repo).percent) == (state, percent)
    said = alice.client.get(done.headers["Location"]).text
    assert f"{action} of second on stable: done" in said
    (entry,) = audit.entries(engine, 1)
    assert (entry.actor, entry.action, entry.outcome) == ("alice", action, "done")
    assert entry.details["reason"] == "too slow on old phones"
    assert (entry.details["from"], entry.details["to"]) == change


def test_roll_back_puts_the_earlier_release_first_for_all(alice, tiny_repo, two_releases):
    asked = alice.ask("stable", "rollback", two_releases[1]).text
    assert "second is newest, for 20%" in asked and "tiny is newest, for 100%" in asked
    assert alice.press("stable", "rollback", two_releases[1]).status_code == 303
    assert (first(tiny_repo).manifest, first(tiny_repo).percent) == (two_releases[1], 100)


def test_halt_and_lift_it(alice, tiny_repo, two_releases):
    alice.press("stable", "halt", two_releases[0], reason="crashes <b>")
    assert read_halts(tiny_repo, "stable").reason(two_releases[0]) == "crashes <b>"
    assert "Halted: crashes &lt;b&gt;" in alice.get("releases")
    alice.press("stable", "unhalt", two_releases[0])
    assert read_halts(tiny_repo, "stable").reason(two_releases[0]) is None


@pytest.mark.parametrize("action", KINDS)
def test_nothing_happens_without_a_reason(alice, tiny_repo, two_releases, tmp_path, action):
    signers = load_signers(tmp_path / "keys")
    if action == "unhalt":
        halt(tiny_repo, signers, "stable", two_releases[0], "odd")
    if action == "resume":
        change_policy(
            tiny_repo, signers, "stable", lambda p: changed(p, p.releases[0], state=KILLED)
        )
    manifest = two_releases[1 if action == "rollback" else 0]
    more = {"percent": "50"} if action == "percent" else {}
    before = read_policy(tiny_repo, "stable"), read_halts(tiny_repo, "stable")
    for reason in ("", "   "):
        back = alice.press("stable", action, manifest, reason=reason, **more)
        assert (back.status_code, "Enter a reason" in back.text) == (400, True)
    assert 'name="version"' in back.text  # the form is there to be filled in
    assert (read_policy(tiny_repo, "stable"), read_halts(tiny_repo, "stable")) == before
    assert alice.press("stable", action, manifest, **more).status_code == 303
    assert (read_policy(tiny_repo, "stable"), read_halts(tiny_repo, "stable")) != before


@pytest.mark.parametrize("action", ["percent", "kill", "rollback", "halt"])
def test_a_page_that_was_shown_for_another_state_does_nothing(
    alice, engine, tiny_repo, two_releases, tmp_path, action
):
    manifest = two_releases[1 if action == "rollback" else 0]
    more = {"percent": "50"} if action == "percent" else {}
    version = alice.version("stable", action, manifest, **more)
    signers = load_signers(tmp_path / "keys")
    meanwhile = change_policy(
        tiny_repo, signers, "stable", lambda p: changed(p, p.releases[0], percent=30.0)
    )
    late = alice.confirm("stable", action, manifest, version, **more)
    assert (late.status_code, "changed after this page was loaded" in late.text) == (409, True)
    assert read_policy(tiny_repo, "stable") == meanwhile
    assert not read_halts(tiny_repo, "stable").halted
    (entry,) = audit.entries(engine, 1)
    assert entry.outcome.startswith("failed: stable was changed")
    (again,) = re.findall(r'href="([^"]*confirm[^"]*)"', late.text)
    assert alice.client.get(html.unescape(again)).status_code == 200


def test_a_halt_meanwhile_is_another_state_and_a_renewal_is_not(
    alice, tiny_repo, two_releases, tmp_path
):
    signers = load_signers(tmp_path / "keys")
    version = alice.version("stable", "percent", two_releases[0], percent="50")
    refresh(tiny_repo, signers, everything=True)
    done = alice.confirm("stable", "percent", two_releases[0], version, percent="50")
    assert done.status_code == 303
    version = alice.version("stable", "percent", two_releases[0], percent="90")
    halt(tiny_repo, signers, "stable", two_releases[0], "fails")
    late = alice.confirm("stable", "percent", two_releases[0], version, percent="90")
    assert late.status_code == 409
    assert first(tiny_repo).percent == 50


def test_two_who_press_at_once_are_not_both_obeyed(alice, tiny_repo, two_releases):
    wanted = ("stable", "percent", two_releases[0])
    versions = [alice.version(*wanted, percent=percent) for percent in ("40", "60")]
    assert alice.confirm(*wanted, versions[0], percent="40").status_code == 303
    assert alice.confirm(*wanted, versions[1], percent="60").status_code == 409
    assert first(tiny_repo).percent == 40


def test_what_would_change_nothing_is_not_asked_for(alice, two_releases):
    for action, manifest in (("unhalt", two_releases[0]), ("rollback", two_releases[0])):
        reply = alice.ask("stable", action, manifest)
        assert (reply.status_code, "</html>" in reply.text) == (409, True)


def test_without_the_channels_key_commands_are_shown_and_the_brake_still_works(
    tiny_repo, engine, two_releases, tmp_path, log_in, make_app, token_of
):
    folder = tmp_path / "server-keys"
    folder.mkdir()
    for name in SERVER_KEYS:
        shutil.copy(tmp_path / "keys" / f"{name}.pem", folder)
    person = log_in(make_app(tiny_repo, folder), token_of(engine)[0])
    assert "The key of stable is not on this server" in person.get("releases")
    for action, at, more in (
        ("pause", 0, {}),
        ("percent", 0, {"percent": 40}),
        ("kill", 0, {}),
        ("rollback", 1, {}),
    ):
        page = html.unescape(person.ask("stable", action, two_releases[at], **more).text)
        (command,) = re.findall(r'<code class="command"[^>]*>([^<]+)</code>', page)
        verb = "stage" if action == "percent" else action
        assert command.startswith(f"pocketrec rollout {verb} {two_releases[at][:12]} ")
        check_parses(shlex.split(command)[1:])
        assert 'name="reason"' not in page
    refused = person.confirm("stable", "pause", two_releases[0], "0" * 16)
    assert (refused.status_code, "the server has no key for this" in refused.text) == (409, True)
    assert person.press("stable", "halt", two_releases[0], reason="x").status_code == 303
    outcomes_of = [entry.outcome[:6] for entry in audit.entries(engine, 2)]
    assert outcomes_of == ["done", "failed"]


def check_parses(words):
    """Parse a command as a shell would have it; what it names need not be there."""
    command: click.Command | None = cli.main
    context = click.Context(cli.main)
    while isinstance(command, click.Group):
        command = command.get_command(context, words[0])
        assert command is not None, words
        context, words = click.Context(command, parent=context), words[1:]
    assert command is not None
    command.make_context(command.name, words, parent=context.parent)


def test_a_token_that_reads_sees_no_button_and_presses_none(
    tiny_repo, engine, two_releases, tmp_path, log_in, make_app, token_of
):
    reader = log_in(make_app(tiny_repo, tmp_path / "keys"), token_of(engine, "read")[0])
    page = reader.get("releases")
    assert "confirm" not in page and "can only read" in page
    assert reader.ask("stable", "kill", two_releases[0]).status_code == 403
    assert reader.confirm("stable", "kill", two_releases[0], "0" * 16).status_code == 403
    assert first(tiny_repo).state == "active"


@pytest.mark.parametrize(
    "form",
    [
        {"action": "explode"},
        {"manifest": "abc"},
        {"action": "percent"},
        {"action": "percent", "percent": "101"},
        {"action": "percent", "percent": "nan"},
        {"action": "percent", "percent": ""},
        {"action": "pause", "percent": "50"},
        {"channel": "../x"},
        {"reason": "x" * 201},
        {"version": ""},
    ],
)
def test_odd_forms_are_one_page_with_a_message(alice, two_releases, form):
    whole = {"channel": "stable", "action": "pause", "manifest": two_releases[0]}
    whole |= {"version": "0" * 16} | form
    reply = alice.confirm(**whole)
    assert (reply.status_code, 'role="alert"' in reply.text) == (400, True)
    if not form.keys() & {"reason", "version"}:
        del whole["version"]
        assert alice.ask(**whole).status_code == 400


@pytest.mark.parametrize("place", ["stable", "nightly"])
def test_a_release_or_channel_that_is_not_there_is_told(alice, place):
    for reply in (
        alice.ask(place, "pause", "a" * 64),
        alice.confirm(place, "pause", "a" * 64, "0" * 16),
        alice.confirm(place, "pause", "a" * 64, "0" * 16, reason=""),
    ):
        assert reply.status_code == 409
        assert ("no release" if place == "stable" else "no channel") in html.unescape(reply.text)
