"""A check with no news is one request; whatever a phone has lost of its metadata comes again."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from edge_runtime.errors import SyncError
from edge_runtime.sync import sync
from sync_server.repository import publish, refresh
from sync_server.rotation import rotate


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
