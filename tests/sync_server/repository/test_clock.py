"""Clocks that are wrong by years: nothing is trusted that should not be, nothing is lost."""

import datetime as real
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from benchmarks.support import command_line
from pocketrec_edge.errors import SyncError
from pocketrec_edge.releases.store import Store
from pocketrec_edge.sync.client import sync
from pocketrec_server.repository.publish import publish, refresh

YEARS = timedelta(days=5 * 365)


@pytest.fixture
def phone_clock(monkeypatch):
    """Return a function that sets the phone's clock ahead or behind."""

    def shift(by):
        shifted = SimpleNamespace(now=lambda zone: datetime.now(zone) + by)
        module = SimpleNamespace(datetime=shifted, timezone=real.timezone)
        monkeypatch.setattr(trusted_metadata_set, "datetime", module)

    return shift


@pytest.fixture
def go(founded, tmp_path):
    """Return a function that syncs a phone with a real server."""
    repo, _ = founded
    with command_line.server(repo, tmp_path) as url:
        root = repo / "metadata" / "1.root.json"
        yield lambda: sync(tmp_path / "phone", url, lambda _: None, root_path=root)


def test_a_phone_years_ahead_keeps_its_release_and_says_why(go, phone_clock, tmp_path):
    go()
    phone_clock(YEARS)
    with pytest.raises(SyncError, match="this phone's clock is wrong"):
        go()
    assert Store(tmp_path / "phone" / "store").open_active()[1] is None
    phone_clock(timedelta(0))
    assert go().status == "current"


def test_a_phone_years_behind_follows_and_still_refuses_what_is_older(
    go, phone_clock, founded, named_releases
):
    repo, signers = founded
    phone_clock(-YEARS)
    first = go()
    old = (repo / "metadata" / "timestamp.json").read_bytes()
    publish(named_releases[1], repo, signers, "stable")
    assert go().to_release != first.to_release
    assert go().requests == 1
    (repo / "metadata" / "timestamp.json").write_bytes(old)
    with pytest.raises(SyncError, match="not to be trusted"):
        go()


def test_a_publisher_years_behind_stops_nobody_for_good(go, founded):
    repo, signers = founded
    go()
    refresh(repo, signers, everything=True, now=datetime.now(UTC) - YEARS)
    with pytest.raises(SyncError, match="expired"):
        go()
    refresh(repo, signers, everything=True)
    assert go().status == "current"


def test_a_publisher_years_ahead_can_still_be_followed_back(go, founded):
    repo, signers = founded
    refresh(repo, signers, everything=True, now=datetime.now(UTC) + YEARS)
    go()
    refresh(repo, signers, everything=True)
    assert go().status == "current"
