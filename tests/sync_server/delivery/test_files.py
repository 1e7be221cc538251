"""Metadata and files over HTTP: hashes as ETags, compression, parts, other places."""

import gzip
import hashlib
import re

import pytest

from pocketrec_edge.sync.client import sync
from pocketrec_server.app import create_app
from pocketrec_server.copies.mirror import Folder, mirror
from pocketrec_server.delivery.traffic import DELTA, FULL, Traffic, by_day
from pocketrec_server.settings import Settings
from pocketrec_server.storage.database import default_url, open_database


@pytest.fixture
def client(tiny_repo):
    return create_app(Settings(repo=tiny_repo, log_requests=False)).test_client()


def test_an_etag_is_the_hash_of_the_stored_bytes_and_is_known_again(tiny_repo, client):
    data = (tiny_repo / "metadata" / "timestamp.json").read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    plain = client.get("/metadata/timestamp.json")
    assert (plain.data, plain.headers["ETag"]) == (data, f'"{sha}"')
    assert "no-cache" in plain.headers["Cache-Control"]
    packed = client.get("/metadata/timestamp.json", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == data
    assert packed.headers["ETag"] == f'"{sha}-gzip"'
    assert packed.headers["Vary"] == "Accept-Encoding"
    for tag in (sha, f"{sha}-gzip"):
        for coding in ("identity", "gzip"):
            headers = {"If-None-Match": f'"{tag}"', "Accept-Encoding": coding}
            again = client.get("/metadata/timestamp.json", headers=headers)
            assert (again.status_code, again.data) == (304, b"")
    old = client.get("/metadata/timestamp.json", headers={"If-None-Match": f'"{"0" * 64}"'})
    assert old.status_code == 200


def test_a_new_timestamp_is_seen_at_once(tiny_repo, client):
    path = tiny_repo / "metadata" / "timestamp.json"
    first = client.get("/metadata/timestamp.json").data
    incoming = path.with_suffix(".new")
    second = first.replace(b'"version":', b'"version":1')
    incoming.write_bytes(second)
    incoming.replace(path)
    assert client.get("/metadata/timestamp.json").data == second


def test_what_never_changes_may_be_kept_for_ever(tiny_repo, client):
    paths = [p for p in (tiny_repo / "targets").rglob("*") if p.is_file()]
    for path in [*paths, *(tiny_repo / "metadata").glob("1.*.json")]:
        reply = client.get(f"/{path.relative_to(tiny_repo)}", buffered=True)
        assert reply.data == path.read_bytes()
        assert "max-age=31536000" in reply.headers["Cache-Control"]
        assert ("immutable" in reply.headers["Cache-Control"]) == (path in paths)


def test_parts_of_a_file(tiny_repo, client):
    path = max((tiny_repo / "targets" / "files").iterdir(), key=lambda p: p.stat().st_size)
    data, url = path.read_bytes(), f"/targets/files/{path.name}"
    part = client.get(url, headers={"Range": "bytes=100-"}, buffered=True)
    assert (part.status_code, part.data) == (206, data[100:])
    assert part.headers["Content-Range"] == f"bytes 100-{len(data) - 1}/{len(data)}"
    beyond = client.get(url, headers={"Range": f"bytes={len(data)}-"}, buffered=True)
    assert (beyond.status_code, beyond.is_json) == (416, True)


@pytest.mark.parametrize(
    "path",
    [
        "/metadata/../server.sqlite",
        "/metadata/%2e%2e%2fserver.sqlite",
        "/metadata/nothing.json",
        "/metadata/a%00b.json",
        "/targets/files",
        "/targets/..%2fcookie.secret",
        "/targets//etc/passwd",
    ],
)
def test_nothing_else_is_handed_out(client, path):
    assert client.get(path).status_code in (308, 404)


def test_targets_may_lie_elsewhere(tiny_repo, start_server, tmp_path):
    mirror(tiny_repo, Folder(tmp_path / "copy"))
    blobs, _ = start_server(tmp_path / "copy")
    for path in (tiny_repo / "targets" / "files").iterdir():
        path.unlink()
    address, _ = start_server(tiny_repo, "--blobs-url", f"{blobs}/")
    root = tiny_repo / "metadata" / "1.root.json"
    report = sync(tmp_path / "phone", address, lambda _: None, root_path=root)
    assert report.status == "updated"
    metrics = create_app(Settings(repo=tiny_repo)).test_client().get("/metrics").text
    assert not re.search(r'targets.*status="200"', metrics)


def test_bytes_served_are_counted_by_kind_with_what_deltas_saved(tiny_repo):
    engine = open_database(default_url(tiny_repo))
    served = Traffic(tiny_repo, engine)
    to = "b" * 64
    (tiny_repo / "targets" / "files" / f"{to}.{to}").write_bytes(b"x" * 1000)
    delta = f"/targets/channels/stable/deltas/{'d' * 64}.{to}.{'a' * 64}"
    served.count(delta, 100, 100)
    served.count(delta, 40, 100)  # a part: saves its part
    served.count(f"/targets/files/{to}.{to}", 1000, 1000)
    served.store()
    served.count(delta, 60, 100)
    served.store()
    served.store()
    ((day, found),) = by_day(engine, 0).items()
    assert day > 20_000
    assert (found[DELTA].requests, found[DELTA].bytes, found[DELTA].full_bytes) == (3, 200, 2000)
    assert (found[FULL].requests, found[FULL].bytes) == (1, 1000)


def test_what_cannot_be_stored_is_kept_for_the_next_time(tiny_repo):
    engine = open_database(default_url(tiny_repo))
    served = Traffic(tiny_repo, engine)
    served.count("/metadata/timestamp.json", 10, 10)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE served_day RENAME TO away")
    served.store()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO served_day")
    served.store()
    ((_, found),) = by_day(engine, 0).items()
    assert found["metadata"].bytes == 10
