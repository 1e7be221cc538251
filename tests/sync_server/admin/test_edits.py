"""Settings edited on the site: what is signed, what is refused, and the command in their stead."""

import html
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketrec.cli import main
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.rollout import (
    AppVersions,
    FailureLimit,
    RolloutPolicy,
    Stage,
    SyncPolicy,
)
from pocketrec_server.admin.edits import Edit, texts
from pocketrec_server.auth import audit
from pocketrec_server.repository.history import policy_history
from pocketrec_server.repository.publish import read_policy
from pocketrec_server.storage.database import default_url, open_database

SHA = "a" * 64
RELEASE = {"percent": "12.5", "ramp": "2027-01-01T08:00Z=25\n2027-01-02T08:00:30Z=50"}
RELEASE |= {"app_least": "2.0", "app_below": "3", "classes": "legacy, tab.10"}
RELEASE |= {"begins": "2026-12-24T00:00+02:00", "ends": "2027-06-01T00:00Z"}
RELEASE |= {"halt_above": "2.5", "halt_of": "250"}
SYNC = {"unmetered": "no", "charging": "yes", "quiet_hours": "22-7"}
SYNC |= {"every_s": "7200", "spread_s": "600"}


def edit(policy, manifest, **changes):
    return Edit(channel="stable", manifest=manifest, fields=texts(policy, manifest) | changes)


def policy_of(**settings):
    stage = Stage(manifest=SHA, name="spring", percent=100.0)
    return RolloutPolicy(channel="stable", releases=(stage,), **settings)


def test_a_form_with_all_settings_becomes_this_policy():
    stage = edit(policy_of(), SHA, **RELEASE).changed(policy_of()).releases[0]
    assert stage == Stage(
        manifest=SHA,
        name="spring",
        percent=12.5,
        ramp=((1_798_790_400, 25.0), (1_798_876_830, 50.0)),
        app=AppVersions(least="2.0", below="3"),
        device_classes=("legacy", "tab.10"),
        from_utc=1_798_063_200,
        until_utc=1_811_808_000,
        most_failures=FailureLimit(of=250, share=0.025),
    )
    sync = edit(policy_of(), "", **SYNC).changed(policy_of()).sync
    assert sync == SyncPolicy(
        unmetered=False, charging=True, quiet_hours=(22, 7), every_s=7200, spread_s=600
    )


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("percent", "", "percent '': expected a number"),
        ("percent", "nan", "percent 'nan': expected a number"),
        ("percent", "101", "percent must be a number 0..100"),
        ("percent", "-5", "percent '-5': expected a number"),
        ("ramp", "tomorrow=25", "ramp 'tomorrow': expected a time"),
        ("ramp", "2027-01-01T08:00Z", "expected a time and a percentage"),
        ("ramp", "2027-01-02=50 2027-01-01=60", "both rising"),
        ("ramp", "2027-01-01=1", "both rising"),
        ("app_least", "two", "least must be a version as 1.2"),
        ("app_below", "1.0 beta", "below must be a version as 1.2"),
        ("classes", "Ünder", "device_classes must be a list"),
        ("classes", " ".join(f"c{n}" for n in range(17)), "at most 16 names"),
        ("begins", "0001-01-01", "from_utc must be an integer"),
        ("ends", "1969-01-01", "until_utc must be null or later"),
        ("halt_above", "101", "share must be a number 0..1"),
        ("halt_of", "0", "of must be an integer 1.."),
        ("halt_of", "2.5", "expected a whole number"),
    ],
)
def test_bad_settings_of_a_release_are_refused_with_what_is_expected(field, text, said):
    sent = edit(policy_of(), SHA, halt_above="5").fields | {field: text}
    with pytest.raises(InputError, match=re.escape(said)):
        Edit(channel="stable", manifest=SHA, fields=sent).changed(policy_of())


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("quiet_hours", "22", "expected two hours, such as 22-7"),
        ("quiet_hours", "22-24", "quiet_hours must be null or two hours"),
        ("quiet_hours", "7-7", "that differ"),
        ("every_s", "59", "every_s must be an integer 60.."),
        ("spread_s", "soon", "random delay 'soon': expected a number"),
    ],
)
def test_bad_settings_of_the_sync_are_refused(field, text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        edit(policy_of(), "", **{field: text}).changed(policy_of())


percents = st.integers(0, 1000).map(lambda n: n / 10)


@given(
    percents,
    st.lists(st.tuples(st.integers(1, 2**31), percents), max_size=3),
    st.none() | st.tuples(st.integers(1, 10**9), st.integers(0, 1000)),
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,5}", fullmatch=True), max_size=3),
    st.none() | st.tuples(st.integers(0, 23), st.integers(0, 23)).filter(lambda h: h[0] != h[1]),
)
def test_the_texts_of_a_policy_are_that_policy_again(percent, ramp, limit, classes, hours):
    steps = tuple(zip(sorted({at for at, _ in ramp}), sorted(p for _, p in ramp), strict=False))
    stage = Stage(
        manifest=SHA,
        name="spring",
        percent=percent,
        ramp=tuple(step for step in steps if step[1] >= percent),
        device_classes=tuple(classes),
        most_failures=FailureLimit(of=limit[0], share=limit[1] / 1000) if limit else None,
    )
    policy = RolloutPolicy(channel="stable", releases=(stage,), sync=SyncPolicy(quiet_hours=hours))
    for manifest in (SHA, ""):
        assert edit(policy, manifest).changed(policy) == policy


def command_of(page):
    (found,) = re.findall(r'<code class="command"[^>]*>(.*?)</code>', page, re.DOTALL)
    return shlex.split(html.unescape(found))


def run(runner, words, folder, reason="because"):
    there = {"repo/": str(folder / "repo"), "keys/": str(folder / "keys"), "TEXT": reason}
    done = runner.invoke(main, [there.get(word, word) for word in words[1:]])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "steps",
    [
        [RELEASE, {"ramp": ""}, {"percent": "30"}, {"app_least": "", "app_below": "", "ends": ""}],
        [RELEASE, {"classes": "", "begins": "", "halt_above": ""}],
        [{"halt_above": "0.1", "halt_of": "7"}, {"ramp": "2027-01-01T08:00Z=99.9999999999"}],
    ],
)
def test_the_shown_command_signs_what_the_site_would(
    alice, tiny_repo, two_releases, tmp_path, runner, make_app, token_of, log_in, steps
):
    """A server without keys shows the command; run where the keys are, it signs the same policy."""
    keyless = log_in(make_app(tiny_repo), token_of(open_database(default_url(tiny_repo)))[0])
    for changes in steps:
        before = read_policy(tiny_repo, "stable")
        wanted = edit(before, two_releases[0], **changes)
        sent = {"channel": "stable", "manifest": two_releases[0], **wanted.fields}
        page = keyless.client.get("/admin/edit/confirm", query_string=sent).text
        assert (
            "does not have the key of stable" in page and "<form" not in page.partition("main>")[2]
        )
        run(runner, command_of(page), tmp_path)
        assert read_policy(tiny_repo, "stable") == wanted.changed(before) != before


def test_the_shown_command_of_sync_settings_signs_them_too(
    alice, tiny_repo, tmp_path, runner, make_app, token_of, log_in
):
    keyless = log_in(make_app(tiny_repo), token_of(open_database(default_url(tiny_repo)))[0])
    for changes in (SYNC, {"quiet_hours": ""}, {"unmetered": "yes", "charging": "no"}):
        before = read_policy(tiny_repo, "stable")
        wanted = edit(before, "", **changes)
        sent = {"channel": "stable", **wanted.fields}
        run(
            runner,
            command_of(keyless.client.get("/admin/edit/confirm", query_string=sent).text),
            tmp_path,
        )
        assert read_policy(tiny_repo, "stable") == wanted.changed(before) != before


def save(person, edit_, reason="because", version=None):
    sent = {"channel": "stable", "manifest": edit_.manifest, **edit_.fields}
    page = person.client.get("/admin/edit/confirm", query_string=sent)
    assert page.status_code == 200, page.text
    if version is None:
        (version,) = re.findall(r'name="version" value="([^"]+)"', page.text)
    data = sent | {"csrf": person.csrf(), "version": version, "reason": reason}
    return person.client.post("/admin/edits", data=data)


def test_settings_are_signed_noted_and_shown_once_in_the_history(alice, tiny_repo, two_releases):
    before = read_policy(tiny_repo, "stable")
    wanted = edit(before, two_releases[0], **RELEASE)
    reply = save(alice, wanted, "slowly")
    assert reply.status_code == 303
    assert read_policy(tiny_repo, "stable") == wanted.changed(before)
    assert "edit of second on stable: done" in alice.client.get(reply.headers["Location"]).text
    change = policy_history(tiny_repo, "stable")[0]
    assert (change.action, change.by, change.reason) == ("stage", "alice (site)", "slowly")
    (noted,) = audit.entries(open_database(default_url(tiny_repo)), 1)
    assert (noted.action, noted.outcome) == ("edit", "done")
    assert noted.details["from"].startswith("percent 20, ramp unset")
    assert alice.get("history").count("slowly") == 1
    reply = save(alice, edit(read_policy(tiny_repo, "stable"), "", **SYNC), "nights")
    assert "when of the sync settings on stable: done" in alice.get(
        reply.headers["Location"].removeprefix("/admin/")
    )
    assert read_policy(tiny_repo, "stable").sync.quiet_hours == (22, 7)
    page = alice.get("releases")
    assert "not from 22:00 to 07:00 local time" in page and "while charging" in page
    assert alice.get("history").count("nights") == 1


def test_an_outdated_page_signs_nothing(alice, tiny_repo, two_releases):
    before = read_policy(tiny_repo, "stable")
    old = alice.version("stable", "kill", two_releases[0])
    assert alice.press("stable", "pause", two_releases[0]).status_code == 303
    paused = read_policy(tiny_repo, "stable")
    reply = save(alice, edit(before, two_releases[0], percent="50"), version=old)
    assert (reply.status_code, "was changed after this page" in reply.text) == (409, True)
    assert read_policy(tiny_repo, "stable") == paused


def test_forms_come_back_with_what_was_typed_and_why_it_is_wrong(alice, two_releases, tiny_repo):
    policy = read_policy(tiny_repo, "stable")
    for changes, said in (
        ({"percent": "120", "classes": "legacy"}, "percent must be a number 0..100"),
        ({}, "nothing changes"),
    ):
        sent = {"channel": "stable", "manifest": two_releases[0]}
        sent |= edit(policy, two_releases[0], **changes).fields
        reply = alice.client.get("/admin/edit/confirm", query_string=sent)
        assert (reply.status_code, said in reply.text) == (400, True)
        for text in changes.values():
            assert f'value="{text}"' in reply.text


def test_readers_and_strangers_edit_nothing(tiny_repo, two_releases, make_app, token_of, log_in):
    engine = open_database(default_url(tiny_repo))
    reader = log_in(make_app(tiny_repo), token_of(engine, "read")[0])
    for path in (f"edit?channel=stable&manifest={two_releases[0]}", "edit?channel=stable"):
        assert reader.client.get(f"/admin/{path}").status_code == 403
        assert path.partition("=")[0] not in reader.get("releases")
    data = {"csrf": reader.csrf(), "channel": "stable", "reason": "x", "version": "y", **SYNC}
    assert reader.client.post("/admin/edits", data=data).status_code == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("channel=Stable", 400),
        ("channel=nothing", 404),
        (f"channel=stable&manifest={'0' * 64}", 404),
        ("channel=stable&manifest=xyz", 400),
        (f"channel=stable&quiet_hours={'2' * 1001}", 400),
    ],
)
def test_unknown_places_and_long_texts_are_refused(alice, query, status):
    assert alice.client.get(f"/admin/edit?{query}").status_code == status


def test_a_reason_is_needed(alice, tiny_repo, two_releases):
    before = read_policy(tiny_repo, "stable")
    reply = save(alice, edit(before, two_releases[0], percent="50"), reason=" ")
    assert (reply.status_code, "Enter a reason" in reply.text) == (400, True)
    assert read_policy(tiny_repo, "stable") == before
