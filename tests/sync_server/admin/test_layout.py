"""Errors below /admin/ are pages of the site; those of the API stay JSON."""

import re

import pytest

from pocketrec_server.admin import layout as admin_layout
from pocketrec_server.auth.sessions import COOKIE
from pocketrec_server.storage.database import default_url, open_database


def is_page(reply):
    return (
        reply.content_type.startswith("text/html")
        and "/admin/style.css" in reply.text
        and 'role="alert"' in reply.text
        and reply.headers["Content-Security-Policy"] == admin_layout.CSP
        and reply.headers["Cache-Control"] == "no-store"
    )


def broken():
    raise RuntimeError("secret detail")


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/admin/nothing", {}, 404),
        ("POST", "/admin/nothing/here", {}, 404),
        ("GET", "/admin/logout", {}, 405),
        ("DELETE", "/admin/releases", {}, 405),
        ("GET", "/admin/releases?days=8", {}, 400),
        ("GET", "/admin/history?before=-1", {}, 400),
        ("GET", "/admin/confirm", {}, 400),
        ("POST", "/admin/actions", {"data": {"csrf": "wrong"}}, 403),
        ("POST", "/admin/actions", {"data": {"csrf": "x" * 20_000}}, 413),
        ("POST", "/admin/login", {"data": {"token": "x" * 20_000}}, 413),
        ("POST", "/admin/login", {"headers": {"Origin": "https://evil.example"}}, 403),
    ],
)
def test_an_error_is_a_page_with_a_way_back(alice, method, path, sent, status):
    reply = alice.client.open(path, method=method, **sent)
    assert (reply.status_code, is_page(reply)) == (status, True)
    assert 'href="/admin/"' in reply.text and "alice" in reply.text
    if status == 405:
        assert reply.headers["Allow"]


def test_a_stranger_gets_the_same_page_with_a_way_to_log_in(alice):
    stranger = alice.client.application.test_client()
    reply = stranger.get("/admin/nothing")
    assert (reply.status_code, is_page(reply)) == (404, True)
    assert 'href="/admin/login"' in reply.text
    assert "alice" not in reply.text and "csrf" not in reply.text


def test_a_crash_is_a_page_that_names_its_request_and_no_detail(alice, monkeypatch):
    app = alice.client.application
    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setitem(app.view_functions, "admin_site.fleet", broken)
    reply = alice.client.get("/admin/fleet", headers={"X-Request-ID": "abcdef0123456789"})
    assert (reply.status_code, is_page(reply)) == (500, True)
    assert "abcdef0123456789" in reply.text and "secret detail" not in reply.text


def test_programs_still_get_json(alice):
    client = alice.client.application.test_client()
    for path, status in (("/v1/admin/nothing", 404), ("/v1/admin/audit", 401), ("/adminx", 404)):
        reply = client.get(path)
        assert (reply.status_code, reply.json.keys()) == (status, {"error"})


@pytest.mark.parametrize(
    ("referer", "way"),
    [
        ("http://localhost/admin/releases?days=7", "/admin/releases?days=7"),
        ("https://evil.example/admin/releases", None),
        ("http://localhost/v1/events", None),
        ("javascript:alert(1)", None),
        ("http://localhost/admin/%22%3E%3Cimg", "/admin/%22%3E%3Cimg"),
    ],
)
def test_the_way_back_leads_to_a_page_of_the_site_only(alice, referer, way):
    page = alice.client.get("/admin/nothing", headers={"Referer": referer}).text
    ways = re.findall(r'class="button" href="([^"]*)"', page)
    assert ways == [*([way] if way else []), "/admin/"]


def test_who_comes_back_after_the_session_ended_is_told_and_led_to_the_page(alice, token_of):
    alice.client.set_cookie(COOKIE, "old", path="/admin")
    sent = alice.client.get("/admin/releases?days=7")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/admin/login?ended=releases")
    page = alice.client.get(sent.headers["Location"]).text
    assert "session has ended" in page
    assert re.findall(r'name="place" value="([^"]*)"', page) == ["releases"]
    lost = alice.client.post("/admin/actions", data={"reason": "x"})
    assert lost.headers["Location"] == "/admin/login?ended=overview"


@pytest.mark.parametrize(
    ("place", "to"),
    [("releases", "/admin/releases"), ("//evil.example", "/admin/"), ("", "/admin/")],
)
def test_logging_in_leads_to_a_page_of_the_site_only(tiny_repo, make_app, token_of, place, to):
    text, _ = token_of(open_database(default_url(tiny_repo)))
    form = {"token": text, "place": place}
    reply = make_app(tiny_repo).test_client().post("/admin/login", data=form)
    assert (reply.status_code, reply.headers["Location"]) == (303, to)
