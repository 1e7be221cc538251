"""A check with no news is one request; whatever a phone has lost of its metadata comes again."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.client import sync
from pocketrec_edge.sync.metadata import ROOT_EVERY_S
from pocketrec_server.repository.publish import publish, refresh
from pocketrec_server.repository.rotation import rotate


@pytest.fixture
def static(founded, static_server):
    """(address, paths asked for) of a plain static file server over the repository."""
    asked: list[str] = []
    with static_server(founded[0], asked) as url:
        yield url, asked


@pytest.fixture
def phone(static, founded, tmp_path):
    """Return a function that syncs a phone, which has the release."""
    root = founded[0] / "metadata" / "1.root.json"

    def run(url=static[0], **more):
        static[1].clear()
        return sync(tmp_path / "phone", url, lambda _: None, **more)

    run(root_path=root)
    return run


def test_a_check_with_no_news_is_one_request_of_2_kb_at_most(phone, static, start_server, founded):
    report = phone()
    assert (report.status, report.requests) == ("current", 1)
    assert 0 < report.bytes_down <= 2000
    assert static[1] == ["/metadata/timestamp.json"]
    url, _ = start_server(founded[0])
    report = phone(url)
    assert (report.status, report.requests, report.bytes_down) == ("current", 1, 0)


def test_news_are_asked_for_once_each_root_first(phone, static, founded, named_releases):
    repo, signers = founded
    publish(named_releases[1], repo, signers, "stable")
    assert phone().status == "updated"
    assert static[1][:4] == [
        "/metadata/timestamp.json",
        "/metadata/2.root.json",
        "/metadata/3.snapshot.json",
        "/metadata/3.stable.json",
    ]
    assert len(set(static[1])) == len(static[1])
    assert not [path for path in static[1] if "/files/" in path]


def test_a_timestamp_that_was_only_renewed_costs_one_more_request(phone, static, founded):
    repo, signers = founded
    assert refresh(repo, signers, now=datetime.now(UTC) + timedelta(days=4)).signed == ["timestamp"]
    assert phone().status == "current"
    assert static[1] == ["/metadata/timestamp.json", "/metadata/2.root.json"]
    assert phone().requests == 1


@pytest.mark.parametrize(
    "name",
    ["timestamp.json", "snapshot.json", "targets.json", "stable.json", "targets"],
)
@pytest.mark.parametrize("damage", ["gone", "torn"])
def test_what_a_phone_has_lost_comes_again(phone, tmp_path, name, damage):
    path = tmp_path / "phone" / "tuf" / name
    for each in path.iterdir() if path.is_dir() else [path]:
        if damage == "gone":
            each.unlink()
        else:
            each.write_bytes(each.read_bytes()[:-9])
    assert phone().status == "current"
    assert (phone().status, phone().requests) == ("current", 1)


def test_a_torn_root_gives_way_to_the_one_before(phone, founded, tmp_path):
    repo, signers = founded
    rotate(repo, signers, ["timestamp"])
    phone()
    history = tmp_path / "phone" / "tuf" / "root_history"
    assert sorted(path.name for path in history.iterdir()) == ["1.root.json", "2.root.json"]
    whole = (history / "2.root.json").read_bytes()
    (history / "2.root.json").write_bytes(whole[:100])
    assert phone().status == "current"
    assert (history / "2.root.json").read_bytes() == whole
    shutil.rmtree(history)
    with pytest.raises(SyncError, match="no trusted root yet"):
        phone()


def test_small_targets_that_are_not_needed_any_more_go(phone, founded, named_releases, tmp_path):
    repo, signers = founded
    folder = tmp_path / "phone" / "tuf" / "targets"
    before = {path.name for path in folder.iterdir()}
    publish(named_releases[1], repo, signers, "stable")
    phone()
    after = {path.name for path in folder.iterdir()}
    assert len(after) == len(before)
    assert not after & before


@pytest.fixture
def new_root_alone(founded):
    """Publish root 2, which has another timestamp key, and leave the old timestamp there."""
    repo, signers = founded
    old = (repo / "metadata" / "timestamp.json").read_bytes()

    def publish_root():
        rotate(repo, signers, ["timestamp"])
        (repo / "metadata" / "timestamp.json").write_bytes(old)

    return publish_root


def roots(tmp_path):
    return sorted(path.name for path in (tmp_path / "phone/tuf/root_history").iterdir())


def test_a_newer_root_is_asked_for_first_once_a_day(phone, static):
    begun = time.time()
    for hours, requests in ((1, 1), (23.9, 1), (24.1, 2), (25, 1), (48, 1), (48.2, 2)):
        report = phone(clock=lambda hours=hours: begun + hours * 3600)
        assert (report.status, report.requests) == ("current", requests), hours
        first = ["/metadata/2.root.json"] if requests == 2 else []
        assert static[1] == [*first, "/metadata/timestamp.json"]


def test_a_new_root_under_the_old_timestamp_is_followed_within_a_day(
    phone, new_root_alone, tmp_path
):
    new_root_alone()
    assert (phone().requests, roots(tmp_path)) == (1, ["1.root.json"])
    with pytest.raises(SyncError, match="not to be trusted"):  # the old key signs no more
        phone(clock=lambda: time.time() + ROOT_EVERY_S)
    assert roots(tmp_path) == ["1.root.json", "2.root.json"]
    with pytest.raises(SyncError, match="not to be trusted"):
        phone()


@pytest.mark.parametrize(
    "said", [b"", b"[]", b'{"root":1,"asked_utc":"x"}', b"[" * 10_000, None, "later", "other"]
)
def test_a_root_is_asked_for_where_nobody_knows_when_it_was(phone, static, tmp_path, said):
    path = tmp_path / "phone" / "tuf" / "root_asked.json"
    value = json.loads(path.read_bytes())
    if said is None:
        path.unlink()
    elif said == "later":
        path.write_text(json.dumps(value | {"asked_utc": int(time.time()) + 3600}))
    elif said == "other":
        path.write_text(json.dumps(value | {"root": "0" * 64}))
    else:
        path.write_bytes(said)
    assert phone().requests == 2
    assert static[1][0] == "/metadata/2.root.json"
    assert phone().requests == 1


def test_an_unexpected_timestamp_has_roots_asked_for_first(phone, static, founded, tmp_path):
    """The one here is unchanged on the server, and one byte of what it names was changed here."""
    path = tmp_path / "phone" / "tuf" / "snapshot.json"
    path.write_bytes(path.read_bytes()[:-1])
    assert phone().status == "current"
    assert static[1] == [
        "/metadata/timestamp.json",
        "/metadata/2.root.json",
        "/metadata/timestamp.json",
        "/metadata/2.snapshot.json",
    ]
