"""Targets, and what lies in the phone's folder (specification, 5.6 and 5.7)."""

import json

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError

from pocketrec_edge.errors import SyncError

T = "targets"
PATH = "channels/stable/policy.json"


@pytest.fixture
def put(publisher):
    """Return a function that publishes a target, and a file under its name that may differ."""

    def publish(data, path=PATH, sent=None):
        publisher.add_target(path, data)
        publisher.update(T)
        target = publisher.targets[T].targets[path]
        folder, _, name = path.rpartition("/")
        place = f"targets/{folder}/{target.hashes['sha256']}.{name}"
        publisher.files[place] = data if sent is None else sent
        return place

    return publish


def test_a_target_is_asked_for_under_its_hash_and_once(publisher, client, put):
    place = put(b"first")
    assert client.read(PATH) == b"first"
    assert publisher.asked[-1] == place
    publisher.asked.clear()
    assert client.read(PATH) == b"first"
    assert publisher.asked == ["timestamp.json"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_target_that_changes_comes_again(client, put, times):
    for number in range(times + 1):
        put(b"content %d" % number)
        assert client.read(PATH) == b"content %d" % number


SENT = {
    "another content": b"secon",
    "shorter": b"firs",
    "longer": b"first and more",
    "empty": b"",
    "megabytes": b"first" * 300_000,
}


@pytest.mark.parametrize("how", SENT)
def test_a_target_that_is_not_as_signed_is_refused(client, put, how):
    put(b"first", sent=SENT[how])
    with pytest.raises((RepositoryError, DownloadError)):
        client.read(PATH)
    folder = client.home / "tuf" / "targets"
    assert not folder.exists() or not [p for p in folder.iterdir() if p.name[0] != "."]
    put(b"second")
    assert client.read(PATH) == b"second"


def test_a_target_larger_than_its_reader_takes_is_not_asked_for(publisher, client, put):
    place = put(b"x" * 1001)
    with pytest.raises(RepositoryError, match="exceed"):
        client.read(PATH)
    assert place not in publisher.asked


@pytest.mark.parametrize("path", ["unknown", "", "channels/stable", "channels/stable/policy.json/"])
def test_a_path_that_nobody_signs_is_none(client, put, path):
    put(b"first")
    assert client.read(path) is None


@pytest.mark.parametrize(
    "path", ["a b.json", "é/日.json", "a%20b", "a+b", "x/..y", "a&b=c", "~a", "a;b", "a'b", "a:b"]
)
def test_a_path_of_any_letters_is_looked_up(client, publisher, path):
    publisher.add_target(path, b"content")
    publisher.update(T)
    (target,) = client.check(path)
    assert target.path == path
    assert target.length == 7


@pytest.mark.parametrize("digest", ["", "0", "../../../x", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_a_target_whose_sha256_is_none_does_not_exist(client, publisher, digest):
    """A hash becomes part of a path on the phone."""
    publisher.add_target(PATH, b"content")
    publisher.targets[T].targets[PATH].hashes = {"sha256": digest} if digest else {"sha512": "0"}
    publisher.update(T)
    assert client.check(PATH) == [None]
    assert client.read(PATH) is None


FILES = ("timestamp.json", "snapshot.json", "targets.json", "targets", "root_asked.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "changed"])
def test_what_was_changed_or_removed_here_comes_again_proved(publisher, client, put, name, damage):
    put(b"first")
    assert client.read(PATH) == b"first"
    path = client.home / "tuf" / name
    if path.is_dir():
        (path,) = path.iterdir()
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        changed = data.replace(b"2", b"3").replace(b"first", b"worst")
        path.write_bytes({"empty": b"", "cut": data[:-9], "changed": changed}[damage])
    assert client.read(PATH) == b"first"
    publisher.asked.clear()
    assert client.read(PATH) == b"first"
    assert publisher.asked == ["timestamp.json"]


def test_an_older_timestamp_that_was_put_here_is_replaced(publisher, client, put):
    put(b"first")
    client.check("any")
    old = {p.name: p.read_bytes() for p in (client.home / "tuf").glob("*.json")}
    put(b"second")
    client.check("any")
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        (client.home / "tuf" / name).write_bytes(old[name])
    assert client.read(PATH) == b"second"


def test_metadata_of_another_publisher_that_was_put_here_is_not_trusted(publisher, client, put):
    put(b"first")
    client.check("any")
    path = client.home / "tuf" / "timestamp.json"
    value = json.loads(path.read_bytes())
    value["signed"]["version"] = 1000
    path.write_bytes(json.dumps(value).encode())
    assert client.read(PATH) == b"first"
    assert client.version("timestamp") < 1000


def test_without_a_server_what_is_here_stays_as_it_is(publisher, client, put):
    put(b"first")
    assert client.read(PATH) == b"first"
    before = {p: p.read_bytes() for p in client.home.rglob("*") if p.is_file()}
    publisher.missing = 503
    publisher.files.clear()
    with pytest.raises(DownloadError):
        client.read(PATH)
    assert {p: p.read_bytes() for p in client.home.rglob("*") if p.is_file()} == before


def test_without_a_root_nothing_is_asked_for(publisher, client):
    client.first = None
    with pytest.raises(SyncError, match="no trusted root yet"):
        client.check("any")
    assert not publisher.asked


def test_the_root_that_was_followed_outlives_the_pinned_one(publisher, client):
    publisher.next_root()
    client.check("any")
    client.first = None
    publisher.asked.clear()
    client.check("any", hours=25)
    assert publisher.asked[0] == "3.root.json"
