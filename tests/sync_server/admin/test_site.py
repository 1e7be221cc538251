"""The admin site as a person meets it: logging in, pages, forms, and what it refuses."""

import html
import re
import time

import pytest

from pocketrec.cli import main
from pocketrec_bundle.settings.rollout import FailureLimit
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.admin import layout as admin_layout
from pocketrec_server.auth import audit
from pocketrec_server.halting import outcomes
from pocketrec_server.repository.keys import load_signers, make_keys
from pocketrec_server.repository.publish import (
    change_policy,
    found_repository,
    publish,
    read_policy,
)
from pocketrec_server.repository.rollout import changed, find
from pocketrec_server.storage.database import default_url, open_database

SERVER_KEYS = ("snapshot", "timestamp", "brake")


@pytest.fixture
def engine(tiny_repo):
    return open_database(default_url(tiny_repo))


def test_strangers_see_the_login_page_only(tiny_repo, engine, make_app):
    client = make_app(tiny_repo).test_client()
    for path in ("", "releases", f"releases/stable/{'0' * 64}", "fleet", "history", "audit.jsonl"):
        reply = client.get(f"/admin/{path}")
        assert (reply.status_code, reply.headers["Location"]) == (303, "/admin/login")
    assert client.post("/admin/actions").status_code == 303
    wrong = client.post("/admin/login", data={"token": "prt_x_y"})
    assert (wrong.status_code, "not valid" in wrong.text) == (401, True)
    assert "Set-Cookie" not in wrong.headers


def test_forms_of_other_sites_and_sessions_are_refused(
    alice, tiny_repo, engine, two_releases, log_in, token_of
):
    form = {"channel": "stable", "action": "kill", "manifest": two_releases[0]}
    form |= {"reason": "because", "version": alice.version("stable", "kill", two_releases[0])}
    other = log_in(alice.client.application, token_of(engine, name="eve")[0])
    for csrf in ("", "x", other.csrf()):
        reply = alice.client.post("/admin/actions", data=form | {"csrf": csrf})
        assert reply.status_code == 403
    for origin in ("https://evil.example", "null"):
        reply = alice.client.post(
            "/admin/actions", data=form | {"csrf": alice.csrf()}, headers={"Origin": origin}
        )
        assert reply.status_code == 403
    assert read_policy(tiny_repo, "stable").releases[0].state == "active"
    same = {"Origin": "http://localhost"}
    form |= {"csrf": alice.csrf()}
    assert alice.client.post("/admin/actions", data=form, headers=same).status_code == 303
    assert read_policy(tiny_repo, "stable").releases[0].state == "killed"


def test_pages_may_load_their_style_sheet_and_nothing_else(alice):
    for path in ("", "releases", "fleet", "history", "login"):
        reply = alice.client.get(f"/admin/{path}")
        policy = reply.headers["Content-Security-Policy"]
        assert policy == admin_layout.CSP
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert reply.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", reply.text)
    assert alice.client.get("/admin/style.css").content_type.startswith("text/css")


def test_pages_show_what_the_fleet_told(alice, engine, tiny_repo, two_releases):
    kinds = ["installed"] * 7 + ["self_test_failed"] * 2 + ["reverted"]
    told = [
        {"id": f"{at:032x}", "manifest": two_releases[0], "outcome": kind, "ts": int(time.time())}
        for at, kind in enumerate(kinds)
    ]
    outcomes.count(engine, "stable", two_releases, told, time.time(), network="192.0.2.0/24")
    for path in ("", "releases"):
        assert "7 installed" in alice.get(path)
        assert "3 failed" in alice.get(path)
    page = alice.get("fleet")
    assert re.search(r">second</td><td>stable</td><td class=\"n\">7</td>", page)
    assert "33.3%" in page
    assert page.count("<svg") == 2
    assert "second" in page


def test_operators_learn_that_outcomes_of_one_network_halt_nothing(
    alice, engine, tiny_repo, two_releases, tmp_path, runner, token_of
):
    bearer = {"Authorization": f"Bearer {token_of(engine, 'read')[0]}"}

    def limited(policy):
        limit = FailureLimit(of=20, share=0.05)
        return changed(policy, find(policy, two_releases[0]), most_failures=limit)

    change_policy(tiny_repo, load_signers(tmp_path / "keys"), "stable", limited)

    def told(*kinds):
        return [
            {"id": f"{at:032x}", "manifest": two_releases[0], "outcome": kind}
            for at, kind in enumerate(kinds)
        ]

    def shown():
        api = alice.client.get("/v1/admin/channels", headers=bearer).json["channels"][0]
        done = runner.invoke(main, ["rollout", "show", "--repo", str(tiny_repo)])
        assert done.exit_code == 0, done
        return alice.get("releases"), api["releases"][0]["halting_lacks"], done.output

    page, lacking, output = shown()
    assert lacking is None  # nobody reported yet
    kinds = ("self_test_failed", "app_too_old", "app_too_old")
    outcomes.count(engine, "stable", two_releases, told(*kinds), time.time(), network="::/48")
    page, lacking, output = shown()
    said = "all outcomes come from one network; automatic halting needs 21 networks"
    assert lacking.startswith(said)
    assert said in output
    assert "second: 2 devices need a newer app" in output
    assert said[1:] in page
    assert "app too old on 2" in page
    for at in range(20):
        row = [{**told("installed")[0], "id": f"{at + 9:032x}"}]
        outcomes.count(engine, "stable", two_releases, row, time.time(), network=f"10.0.{at}.0/24")
    page, lacking, output = shown()
    assert lacking is None
    assert "automatic halting needs" not in page + output


def test_releases_say_which_one_phones_get_and_which_are_kept(
    alice, engine, tiny_repo, two_releases, renamed_release, tmp_path
):
    signers = load_signers(tmp_path / "keys")
    page = alice.get("releases")
    assert "A device that syncs now gets" in page
    assert re.search(r"<b>second</b>\s*\(20%\)\s*or\s*<b>tiny</b>\s*\(80%\)", page)
    assert page.count('class="pill live"') == 2
    for name in ("third", "fourth"):
        publish(renamed_release(name), tiny_repo, signers, "stable", percent=100)
    page = alice.get("releases")
    assert re.search(r"<b>fourth</b>\s*\(100%\)\.", page)
    assert page.count('class="pill live"') == 1
    assert "3 kept for rollback: third, second, tiny" in page
    assert page.count('class="pill kept"') == 3
    for word in ("Data until", "Built", "Published"):
        assert page.count(f"<dt>{word}</dt>") == 4
    assert "2023-11-14 22:13 UTC" in page  # what the tiny release was trained on


def test_every_page_has_one_window_and_labels_its_figures_with_it(alice, engine, two_releases):
    now = time.time() - 20 * 86_400
    old = {"id": "1" * 32, "manifest": two_releases[0], "outcome": "installed", "ts": int(now)}
    outcomes.count(engine, "stable", two_releases, [old], now, network="::/48")
    for path in ("", "releases", "fleet"):
        for days, said in ((7, "7 days"), (30, "30 days"), (90, "90 days")):
            page = alice.get(f"{path}?days={days}")
            labels = set(re.findall(r"last (\d+) days", page))
            assert labels == {str(days)}, (path, days)
            assert re.search(rf'aria-current="true">{said}<', page)
            if path != "fleet":
                assert ("1 installed" in page) == (days > 7)
        before, asked, after = (alice.get(p) for p in (path, f"{path}?days=30", path))
        assert asked in (before, after)  # pages name times, and a minute may pass once in between


def test_an_empty_server_has_pages_too(tmp_path, log_in, make_app, token_of):
    engine = open_database(default_url(tmp_path))
    person = log_in(make_app(tmp_path), token_of(engine)[0])
    assert "Nothing is published yet" in person.get("")
    for path in ("releases", "fleet", "history"):
        person.get(path)


def test_a_repository_without_a_release_says_what_to_do(tmp_path, log_in, make_app, token_of):
    make_keys(tmp_path / "keys")
    found_repository(tmp_path / "repo", load_signers(tmp_path / "keys"))
    engine = open_database(default_url(tmp_path / "repo"))
    person = log_in(make_app(tmp_path / "repo"), token_of(engine)[0])
    for path in ("", "releases"):
        page = person.get(path)
        assert page.count("Nothing is published yet") == 1
        assert page.count("No release yet.") == 3
    (login,) = audit.entries(engine, 1)
    page = person.get(f"releases?done={login.number}")
    assert 'role="status"' not in page  # only what a button did is reported there


def test_a_damaged_repository_and_a_lost_database_are_told(alice, tiny_repo):
    stamp = tiny_repo / "metadata" / "timestamp.json"
    stamp.write_bytes(stamp.read_bytes().replace(b'"sig":"', b'"sig":"0'))
    reply = alice.client.get("/admin/releases")
    assert (reply.status_code, "timestamp.json" in reply.text) == (503, True)
    database = open_database(default_url(tiny_repo))
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE admin_token")
    reply = alice.client.get("/admin/history")
    assert (reply.status_code, "database is unavailable" in reply.text) == (503, True)


def test_names_from_outside_are_only_text(tiny_repo, engine, tmp_path, log_in, make_app, token_of):
    evil = "<img src=x onerror=alert(1)>"
    write_tiny_bundle(tmp_path / "evil", answers=True, name=evil)
    publish(tmp_path / "evil", tiny_repo, load_signers(tmp_path / "keys"), "stable")
    person = log_in(make_app(tiny_repo), token_of(engine, name=evil)[0])
    for path in ("", "releases", "fleet", "history"):
        page = person.get(path)
        assert "<img" not in page
        assert html.escape(evil) in page


@pytest.mark.browser
def test_a_person_logs_in_and_pauses_a_release_in_chromium(
    tab, tiny_repo, engine, two_releases, start_server, tmp_path, token_of
):
    address, _ = start_server(tiny_repo, "--keys", tmp_path / "keys")
    tab.go(f"{address}/admin/releases")
    assert tab.run("location.pathname") == "/admin/login"
    tab.type("#token", "prt_wrong")
    tab.click("button")
    assert "not valid" in tab.run("document.body.innerText")
    tab.complaints.clear()  # the browser logs the status 401
    tab.type("#token", token_of(engine)[0])
    tab.click("button")
    assert tab.run("location.pathname") == "/admin/"
    assert tab.run("document.cookie") == ""  # no script could read it
    tab.click('nav a[href$="releases"]')
    tab.click('a[href*="action=pause"]')
    assert "No more devices install the release" in tab.run("document.body.innerText")
    tab.type("#reason", "complaints from Berlin")
    tab.click(".confirm button")
    assert "pause of second on stable: done" in tab.run("document.body.innerText")
    assert read_policy(tiny_repo, "stable").releases[0].state == "paused"
    assert tab.run("document.querySelector('.pill').innerText") == "paused"
    tab.type('input[name="percent"]', "75")
    tab.click(".actions button")
    assert "75%" in tab.run("document.querySelector('.change').innerText")
    tab.type("#reason", "no complaint since")
    tab.click(".confirm button")
    assert read_policy(tiny_repo, "stable").releases[0].percent == 75
    tab.click(".who button")
    assert tab.run("location.pathname") == "/admin/login"
    assert tab.complaints == []
