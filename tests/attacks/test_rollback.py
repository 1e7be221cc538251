"""Rollback: older metadata than a phone has seen is put before it again."""

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_server.repository.rotation import revoke


def test_an_older_timestamp_is_refused(site):
    old = site.metadata("timestamp.json").read_bytes()
    site.publish(1)
    site.sync()
    site.metadata("timestamp.json").write_bytes(old)
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "1"


def test_an_older_snapshot_under_a_new_timestamp_is_refused(site):
    """The attacker has the timestamp key."""
    old = site.metadata("timestamp.json").read_bytes()
    site.publish(1)
    site.sync()
    newer = site.metadata("timestamp.json").read_bytes()
    site.metadata("timestamp.json").write_bytes(old)
    site.forge(site.thief("timestamp"), lambda found: None, versions=99)
    assert site.metadata("timestamp.json").read_bytes() != newer
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "1"


def test_an_older_channel_under_new_online_metadata_is_refused(site):
    """The attacker has both online keys, and names what the channel said before."""
    before = site.metadata("timestamp.json").read_bytes()
    site.publish(1)
    site.sync()
    site.metadata("timestamp.json").write_bytes(before)
    site.forge(
        site.thief("timestamp", "snapshot"),
        lambda found: found.changed.add("snapshot"),
        versions=99,
    )
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "1"


def test_an_older_root_is_not_followed(site):
    """A key that root 2 took away signs no more, though the server hands out root 1 only."""
    thief, old = site.thief("timestamp"), site.noted()
    revoke(site.repo, site.signers, ["timestamp"])
    site.sync()
    site.serve(old)
    site.forge(thief, lambda found: None, versions=99)
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"
