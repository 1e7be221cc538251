"""Sessions of people: kept by the server, ended by it, and no longer than they may be."""

import re
import sqlite3
import time
from types import SimpleNamespace

import pytest

from pocketrec_bundle.units import DAY_S
from pocketrec_server.app import create_app
from pocketrec_server.auth import sessions, tokens
from pocketrec_server.auth.failures import MOST
from pocketrec_server.auth.sessions import COOKIE, IDLE_S, LIFE_S, SEEN_S
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def site(tmp_path):
    return create_app(Settings(repo=tmp_path, log_requests=False))


@pytest.fixture
def database(site, tmp_path):
    return open_database(default_url(tmp_path))


@pytest.fixture
def alice(database):
    """A token and what is known of it."""
    return tokens.make(database, "alice", "read", 5, int(time.time()))


@pytest.fixture
def logged_in(site, alice):
    """Return a function that logs alice in with a browser of its own."""

    def log_in():
        client = site.test_client()
        answer = client.post("/admin/login", data={"token": alice[0]})
        assert answer.status_code == 303
        return client

    return log_in


@pytest.fixture
def clock(monkeypatch):
    """Seconds by which the sessions' clock is ahead of the test's beginning; it stands still."""
    ahead, begin = [0.0], int(time.time())
    clock = SimpleNamespace(time=lambda: begin + ahead[0])
    monkeypatch.setattr("pocketrec_server.auth.sessions.time", clock)
    return ahead


def id_of(client):
    return client.get_cookie(COOKIE, path="/admin").value


def is_in(client, path="history"):
    return client.get(f"/admin/{path}").status_code == 200


def by_cookie(site, value):
    client = site.test_client()
    client.set_cookie(COOKIE, value, path="/admin")
    return client


def form_of(client):
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/admin/audit").text)
    assert found is not None
    return found[1]


def test_a_cookie_is_strict_and_holds_a_random_id_and_nothing_else(site, alice, tmp_path):
    client = site.test_client()
    answer = client.post("/admin/login", data={"token": alice[0]})
    cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/admin", f"Max-Age={LIFE_S}"):
        assert part in cookie
    assert len(id_of(client)) == 43  # 32 bytes
    assert alice[0] not in cookie and alice[1].id not in cookie
    with sqlite3.connect(tmp_path / "server.sqlite") as file:
        dump = "\n".join(file.iterdump())
    file.close()
    assert "admin_session" in dump and id_of(client) not in dump
    assert "Set-Cookie" not in client.get("/admin/audit").headers  # a view renews no cookie


def test_a_cookie_that_was_copied_is_worthless_after_the_log_out(site, logged_in):
    client, other = logged_in(), logged_in()
    thief = by_cookie(site, id_of(client))
    assert is_in(thief)
    done = client.post("/admin/logout", data={"csrf": form_of(client)})
    assert done.headers["Location"] == "/admin/login"
    assert not is_in(client)
    assert not is_in(thief)
    assert is_in(other)


def test_a_token_that_is_revoked_ends_its_sessions(database, alice, logged_in):
    bob = tokens.make(database, "bob", "read", 5, int(time.time()))[1]
    kept = sessions.begin(database, bob.id, int(time.time()))
    client = logged_in()
    assert is_in(client)
    tokens.revoke(database, alice[1].id, int(time.time()))
    assert not is_in(client)
    with database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT token_id FROM admin_session").all()
    assert [row.token_id for row in rows] == [bob.id]
    assert sessions.find(database, kept, int(time.time())) == bob


def test_a_session_ends_with_its_token(database):
    token = tokens.make(database, "alice", "read", 1, 1000)[1]
    now = 1000 + DAY_S - 60
    text = sessions.begin(database, token.id, now)
    assert sessions.find(database, text, now + 59) == token
    assert sessions.find(database, text, now + 60) is None


def test_views_keep_a_session_for_half_an_hour_and_none_beyond_twelve(clock, logged_in):
    client, idle = logged_in(), logged_in()
    while clock[0] + IDLE_S / 2 < LIFE_S:
        clock[0] += IDLE_S / 2
        assert is_in(client)
    assert not is_in(idle)
    clock[0] = LIFE_S - IDLE_S / 4  # the real clock goes on under it
    assert is_in(client)
    clock[0] = LIFE_S
    assert not is_in(client)


def test_an_idle_session_is_over_to_the_minute(database):
    token = tokens.make(database, "alice", "read", 1, 0)[1]
    text = sessions.begin(database, token.id, 0)
    assert sessions.find(database, text, SEEN_S - 1) == token
    assert sessions.find(database, text, IDLE_S - 1) == token  # the last page that counts
    assert sessions.find(database, text, 2 * IDLE_S - 2) == token
    assert sessions.find(database, text, 3 * IDLE_S - 2) is None


def test_sessions_that_are_over_leave_the_database(database):
    token = tokens.make(database, "alice", "read", 1, 0)[1]
    for now in (0, 10, IDLE_S + 5):
        sessions.begin(database, token.id, now)
    with database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT created_utc FROM admin_session").all()
    assert sorted(row.created_utc for row in rows) == [10, IDLE_S + 5]


def test_a_browser_that_logs_in_again_leaves_no_session_behind(site, alice, logged_in):
    client = logged_in()
    before = id_of(client)
    assert client.post("/admin/login", data={"token": alice[0]}).status_code == 303
    assert id_of(client) != before
    assert is_in(client)
    assert not is_in(by_cookie(site, before))


@pytest.mark.parametrize("odd", ["", "x", "x" * 4000, "%00", "a.b.c", "é"])
def test_invented_ids_are_nobodys(site, logged_in, odd):
    client = logged_in()
    assert not is_in(by_cookie(site, odd))
    assert not is_in(by_cookie(site, id_of(client)[:-1] + odd[:1]))
    assert is_in(client)


def test_an_id_chosen_by_somebody_else_does_not_become_a_session(site, alice):
    client = by_cookie(site, "c" * 43)
    assert client.post("/admin/login", data={"token": alice[0]}).status_code == 303
    assert id_of(client) != "c" * 43
    assert not is_in(by_cookie(site, "c" * 43))


def test_wrong_tokens_of_a_network_wait_and_right_ones_never_do(site, alice):
    client = site.test_client()

    def log_in(text, address="192.0.2.7"):
        return client.post(
            "/admin/login", data={"token": text}, environ_overrides={"REMOTE_ADDR": address}
        )

    for number in range(MOST):
        assert log_in("wrong", f"192.0.2.{number}").status_code == 401
    waits = log_in("wrong", "192.0.2.200")
    assert (waits.status_code, int(waits.headers["Retry-After"]) > 0) == (429, True)
    assert log_in("wrong", "192.0.3.7").status_code == 401
    assert log_in(alice[0]).status_code == 303  # the same address, while it waits
    assert log_in("wrong").status_code == 429  # and that earns it no further guesses
    for text, status in ((alice[0], 200), ("prt_x_y", 429)):
        program = client.get(
            "/v1/admin/audit",
            headers={"Authorization": f"Bearer {text}"},
            environ_overrides={"REMOTE_ADDR": "192.0.2.7"},
        )
        assert program.status_code == status
