"""Copies of a repository behind servers that know nothing of it, and real devices."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
import urllib3

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_bundle.errors import InputError
from pocketrec_edge.sync.client import sync
from pocketrec_export.conformance.tiny_bundle import write_tiny_bundle
from pocketrec_server.copies.mirror import Folder, mirror, place_of
from pocketrec_server.errors import RepositoryInvalidError
from pocketrec_server.repository import state
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import publish, refresh


@pytest.fixture
def static(static_of, tmp_path):
    """(folder, its address) of Python's own file server."""
    folder = tmp_path / "copy"
    folder.mkdir()
    return folder, static_of(folder)


def accept(_):
    pass


def publish_second(repo, tmp_path):
    write_tiny_bundle(tmp_path / "second", answers=True, name="second")
    signers = load_signers(tmp_path / "keys")
    publish(tmp_path / "second", repo, signers, "stable")


def test_a_plain_file_server_over_the_copy_serves_devices(tiny_repo, static, tmp_path):
    folder, address = static
    first = mirror(tiny_repo, Folder(folder))
    assert first.known == 0
    assert first.bytes + (folder / "metadata/timestamp.json").stat().st_size == sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file()
    )
    root, home = tiny_repo / "metadata" / "1.root.json", tmp_path / "phone"
    assert sync(home, address, accept, root_path=root).status == "updated"
    publish_second(tiny_repo, tmp_path)
    assert sync(home, address, accept).status == "current"
    second = mirror(tiny_repo, Folder(folder))
    assert second.known == first.files
    assert 0 < second.files < 10
    report = sync(home, address, accept)
    assert (report.status, report.files_fetched) == ("updated", 0)
    assert mirror(tiny_repo, Folder(folder)).files == 0


def test_what_a_change_that_was_cut_short_left_is_not_copied(tiny_repo, tmp_path, monkeypatch):
    signers, real = load_signers(tmp_path / "keys"), write_atomic

    def killed(path, data):
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        real(path, data)

    at = datetime.now(UTC) + timedelta(days=16)
    monkeypatch.setattr(state, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        refresh(tiny_repo, signers, now=at)
    monkeypatch.undo()
    mirror(tiny_repo, Folder(tmp_path / "copy"))
    refresh(tiny_repo, signers, now=at + timedelta(hours=1))
    mirror(tiny_repo, Folder(tmp_path / "copy"))
    assert state.load(tmp_path / "copy").versions == state.load(tiny_repo).versions


def test_neither_keys_nor_events_nor_halves_are_copied(tiny_repo, tmp_path):
    shutil.copytree(tmp_path / "keys", tiny_repo / "keys")
    shutil.copy(tmp_path / "keys" / "timestamp.pem", tiny_repo / "metadata")
    shutil.copy(tmp_path / "keys" / "timestamp.pem", tiny_repo / "targets" / "files")
    (tiny_repo / "server.sqlite").write_bytes(b"events")
    (tiny_repo / "targets" / "files" / f".{'a' * 64}.{'a' * 64}.partial").write_bytes(b"half")
    mirror(tiny_repo, Folder(tmp_path / "copy"))
    names = [path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert {name.rpartition(".")[2] for name in names} <= {"json", *(n[-64:] for n in names)}
    assert not any(name.startswith(".") for name in names)


def test_the_timestamp_comes_last_and_a_damaged_file_stops_before_it(tiny_repo, tmp_path):
    files = sorted((tiny_repo / "targets" / "files").iterdir())
    files[-1].write_bytes(b"x" * files[-1].stat().st_size)
    with pytest.raises(RepositoryInvalidError, match="damaged"):
        mirror(tiny_repo, Folder(tmp_path / "copy"))
    assert not (tmp_path / "copy" / "metadata").exists()


def test_nothing_published_is_said(tmp_path):
    with pytest.raises(RepositoryInvalidError, match="Is it published"):
        mirror(tmp_path, Folder(tmp_path / "copy"))


@pytest.fixture
def s3(monkeypatch):
    """Address of a store that speaks S3, with an empty, public bucket `releases`."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    address = f"http://127.0.0.1:{port}"
    import boto3

    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="releases")
    anyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    anyone["Resource"] = "arn:aws:s3:::releases/*"
    client.put_bucket_policy(Bucket="releases", Policy=json.dumps({"Statement": [anyone]}))
    yield address
    server.stop()


def test_a_bucket_serves_devices_and_says_what_may_be_cached(tiny_repo, s3, tmp_path):
    place = place_of("s3://releases/shop/v1/", s3)
    first = mirror(tiny_repo, place)
    assert first.known == 0
    assert len(place.sizes()) == first.files + 1
    address = f"{s3}/releases/shop/v1"
    root, home = tiny_repo / "metadata" / "1.root.json", tmp_path / "phone"
    assert sync(home, address, accept, root_path=root).status == "updated"
    publish_second(tiny_repo, tmp_path)
    assert mirror(tiny_repo, place).known == first.files
    assert sync(home, address, accept).status == "updated"
    stamp = urllib3.request("GET", f"{address}/metadata/timestamp.json")
    assert stamp.headers["Cache-Control"] == "no-cache"
    assert stamp.headers["Content-Type"] == "application/json"
    blob = next((tiny_repo / "targets" / "files").iterdir()).name
    kept = urllib3.request("GET", f"{address}/targets/files/{blob}")
    assert "immutable" in kept.headers["Cache-Control"]


def test_a_bucket_that_is_not_there_and_odd_urls_are_one_message(s3, tiny_repo):
    with pytest.raises(Exception, match=r"s3://other/: .*NoSuchBucket"):
        mirror(tiny_repo, place_of("s3://other", s3))
    with pytest.raises(InputError, match="no bucket name"):
        place_of("s3:///x")
    with pytest.raises(InputError, match="neither a folder"):
        place_of("gs://bucket")
