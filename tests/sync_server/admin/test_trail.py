"""The history on the site: signed changes and the server's own notes, merged, each shown once."""

import re
import shutil

import pytest

from pocketrec_server.admin import trail
from pocketrec_server.admin.trail import NOTED, SIGNED, Filter, page
from pocketrec_server.auth import audit
from pocketrec_server.repository.history import FOLDER, Note
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import change_policy, halt
from pocketrec_server.repository.rollout import changed
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def engine(tiny_repo):
    return open_database(default_url(tiny_repo))


@pytest.fixture
def signers(tmp_path, tiny_repo):
    return load_signers(tmp_path / "keys")


def lines(repo, engine, most=100):
    """All lines, read page by page."""
    found = []
    cursor: tuple[int | None, int | None] | None = (None, None)
    while cursor:
        one = page(repo, engine, most, *cursor)
        assert len(one.lines) <= most
        assert bool(one.lines) or one.older is None
        found += one.lines
        cursor = one.older
    return found


def said(one):
    return one.who, one.action, one.subject, one.before, one.after, one.reason, one.source


def test_a_change_by_the_command_line_and_one_by_the_site_are_each_there_once(
    alice, engine, tiny_repo, two_releases, signers
):
    note = Note(by="bob@build-7", reason="half of the shops")
    change_policy(
        tiny_repo,
        signers,
        "stable",
        lambda policy: changed(policy, policy.releases[0], percent=50.0),
        note,
        "stage",
    )
    assert alice.press("stable", "kill", two_releases[0], reason="crashes").status_code == 303
    found = lines(tiny_repo, engine)
    kill, stage, login = (
        next(one for one in found if one.action == action) for action in ("kill", "stage", "log in")
    )
    assert said(kill)[:3] == ("alice (site)", "kill", "second")
    assert (kill.reason, kill.place, kill.outcome, kill.source) == (
        "crashes",
        "stable",
        "done",
        SIGNED,
    )
    assert ("killed" in kill.after, "killed" in kill.before) == (True, False)
    assert (stage.who, stage.action, stage.reason) == ("bob@build-7", "stage", "half of the shops")
    assert ("50" in stage.after, "20" in stage.before) == (True, True)
    assert (login.who, login.action, login.source) == ("alice", "log in", NOTED)
    assert [one.action for one in found].count("kill") == 1
    assert [one.action for one in found].count("publish") == 2
    text = alice.get("history")
    for word in ("alice (site)", "bob@build-7", "half of the shops", "crashes", "log in"):
        assert word in text


def test_what_failed_is_there_though_nothing_was_signed(alice, engine, tiny_repo, two_releases):
    alice.confirm("stable", "pause", two_releases[0], "0" * 16, reason="too late")
    (one,) = (one for one in lines(tiny_repo, engine) if one.action == "pause")
    assert (one.action, one.subject, one.place, one.reason) == (
        "pause",
        "second",
        "stable",
        "too late",
    )
    assert one.outcome.startswith("failed: stable was changed") and one.source == NOTED


def test_a_halt_of_the_server_is_there_once(engine, tiny_repo, two_releases, signers):
    with audit.noted(engine, audit.SERVER, "halt", f"stable {two_releases[0]}", reason="fails"):
        halt(tiny_repo, signers, "stable", two_releases[0], "fails", by=audit.SERVER)
    halts = [one for one in lines(tiny_repo, engine) if one.action == "halt"]
    assert [(one.who, one.reason, one.source) for one in halts] == [("server", "fails", SIGNED)]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
def test_pages_hold_every_line_once_in_order(alice, engine, tiny_repo, two_releases, most):
    for percent in ("30", "40", "50"):
        alice.press("stable", "percent", two_releases[0], percent=percent)
        alice.confirm("stable", "pause", two_releases[0], "0" * 16)
    whole, paged = lines(tiny_repo, engine), lines(tiny_repo, engine, most)
    assert paged == whole
    times = [one.at_utc for one in whole]
    assert times == sorted(times, reverse=True)
    assert [one.action for one in whole].count("stage") == 3
    assert [one.action for one in whole].count("pause") == 3


def test_a_page_stays_where_it_began_while_new_lines_come(alice, engine, tiny_repo, two_releases):
    first = page(tiny_repo, engine, 2)
    assert first.older is not None
    older = page(tiny_repo, engine, 100, *first.older)
    alice.press("stable", "percent", two_releases[0], percent="30")
    alice.confirm("stable", "pause", two_releases[0], "0" * 16)
    assert page(tiny_repo, engine, 100, *first.older).lines == older.lines


def test_without_the_signed_history_the_notes_are_shown_and_the_loss_is_said(
    alice, engine, tiny_repo, two_releases
):
    shutil.rmtree(tiny_repo / FOLDER)
    assert "history lost" in alice.get("history")
    stamp = tiny_repo / "metadata" / "timestamp.json"
    stamp.write_bytes(stamp.read_bytes().replace(b'"sig":"', b'"sig":"0'))
    reply = alice.client.get("/admin/history")
    assert (reply.status_code, "log in" in reply.text) == (200, True)
    assert re.search(r"signed changes cannot be read.*timestamp.json", reply.text)


def test_the_page_is_paged_and_the_log_exported(alice, engine):
    for n in range(105):
        with audit.noted(engine, None, "try", f"number {n}"):
            pass
    first = alice.get("history")
    (older,) = re.findall(r'href="/admin/(history\?before=[^"]*)"', first)
    assert "number 104" in first and "number 1<" not in first
    second = alice.get(older.replace("&amp;", "&"))
    assert "number 1<" in second and "number 104" not in second and "Newest" in second
    for query in ("before=x", "left=-1", f"before={2**31}", "before=", "left=1&before=99999999999"):
        assert alice.client.get(f"/admin/history?{query}").status_code == 400
    rows = alice.get("audit.jsonl").splitlines()
    assert len(rows) == 106 and '"log in"' in rows[-1]


@pytest.mark.parametrize(
    ("only", "actions"),
    [
        ({"who": "ALICE"}, ["pause", "stage", "log in"]),
        ({"who": "alice (site)"}, ["stage"]),
        ({"action": "Publish"}, ["publish", "publish"]),
        ({"place": "stable", "source": NOTED}, ["pause"]),
        ({"words": "slowly now"}, ["stage"]),
        ({"words": "30%", "source": SIGNED}, []),
        ({"words": "percent 30"}, ["stage"]),
        ({"who": "nobody"}, []),
    ],
)
def test_a_filter_shows_the_lines_that_match_and_pages_through_all(
    alice, engine, tiny_repo, two_releases, only, actions
):
    alice.press("stable", "percent", two_releases[0], percent="30", reason="Slowly now")
    alice.confirm("stable", "pause", two_releases[0], "0" * 16)
    found = page(tiny_repo, engine, 100, only=Filter(**only)).lines
    assert sorted(one.action for one in found) == sorted(actions)  # equal seconds have no order
    text = alice.client.get("/admin/history", query_string=only).text
    assert text.count('<td class="when">') == len(actions)
    assert ("No line matches" in text) == (not actions)
    first = page(tiny_repo, engine, 1, only=Filter(**only))
    if len(actions) > 1:
        assert first.older is not None
        rest = page(tiny_repo, engine, 100, *first.older, Filter(**only)).lines
        assert first.lines + rest == found


def test_pages_keep_the_filter_and_say_when_they_stop_looking(alice, engine, monkeypatch):
    for n in range(8):
        with audit.noted(engine, None, "try", f"number {n}"):
            pass
    monkeypatch.setattr(trail, "MOST_SCANNED", 5)
    text = alice.get("history?words=number+0&action=try")
    assert "No line matches the filter here; older lines may." in text
    (older,) = re.findall(r'href="/admin/(history\?before=[^"]*)"', text)
    assert "words=number+0" in older and "action=try" in older
    assert "number 0</b>" in alice.get(older.replace("&amp;", "&"))
    assert alice.client.get(f"/admin/history?who={'x' * 201}").status_code == 400
