"""The answer that is made before Flask is Flask's own, but for the time that it takes."""

import itertools
import re

import pytest
from werkzeug.test import Client

from pocketrec_server.app import create_app
from pocketrec_server.delivery.not_modified import PATH, NotModified
from pocketrec_server.repository.publish import refresh
from pocketrec_server.settings import Settings

ID = {"X-Request-ID": "0123456789abcdef"}


@pytest.fixture
def apps(published):
    """(the app before, the app behind, repository, signers)."""
    repo, signers = published
    app = create_app(Settings(repo=repo, log_requests=False))
    assert isinstance(app.wsgi_app, NotModified)
    return Client(app.wsgi_app), Client(app.wsgi_app.inner), repo, signers


def answer(client, method="GET", path=PATH, **headers):
    reply = client.open(path, method=method, headers=ID | headers)
    told = {name: value for name, value in reply.headers.items() if name != "Cache-Control"}
    return reply.status_code, told, set(reply.cache_control.items()), reply.data


def test_both_answer_alike(apps):
    before, behind, *_ = apps
    etag = answer(behind)[1]["ETag"]
    packed = answer(behind, **{"Accept-Encoding": "gzip"})[1]["ETag"]
    assert packed != etag
    known = ["", etag, packed, f"W/{etag}", f'"other", {etag}', '"other"']
    accepted = ["", "gzip", "br, gzip", "identity", "gzip;q=0"]
    seen = set()
    for one, other in itertools.product(known, accepted):
        headers = {"If-None-Match": one} if one else {}
        headers |= {"Accept-Encoding": other} if other else {}
        found = answer(before, **headers)
        assert found == answer(behind, **headers), headers
        seen.add((found[0], "Content-Encoding" in found[1]))
    assert seen == {(200, False), (200, True), (304, False)}


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", PATH), ("POST", PATH), ("GET", "/metadata/1.root.json"), ("GET", "/metadata/x")],
)
def test_all_else_is_flasks(apps, method, path):
    before, behind, *_ = apps
    assert answer(before, method, path) == answer(behind, method, path)


def test_a_new_timestamp_is_served_at_once(apps):
    before, _, repo, signers = apps
    for _ in range(3):
        refresh(repo, signers)
        status, headers, _, data = answer(before)
        assert (status, data) == (200, (repo / "metadata" / "timestamp.json").read_bytes())
        assert answer(before, **{"If-None-Match": headers["ETag"]})[0] == 304


def test_without_a_timestamp_there_is_none(apps):
    before, _, repo, _ = apps
    assert answer(before)[0] == 200
    (repo / "metadata" / "timestamp.json").unlink()
    assert answer(before)[0] == 404


def test_checks_are_counted(apps):
    before, *_ = apps
    etag = answer(before)[1]["ETag"]
    for _ in range(3):
        answer(before, **{"If-None-Match": etag})
    text = before.get("/metrics").text
    counted = re.findall(r'requests_total\{route="/metadata/<name>",status="(\d+)"\} (\S+)', text)
    assert dict(counted) == {"200": "1.0", "304": "3.0"}
