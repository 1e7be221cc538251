"""Fast-forward: a thief signs version numbers that no honest ones will reach.

Devices that took them come back once the keys are revoked.
"""

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_server.repository.rotation import revoke

HIGH = 2**31
STOLEN = {
    "timestamp": [],
    "snapshot timestamp": ["snapshot"],
    "stable snapshot timestamp": ["stable", "snapshot"],
    "targets snapshot timestamp": ["targets", "snapshot"],
    "brake snapshot timestamp": ["brake", "snapshot"],
}


@pytest.mark.parametrize("stolen", STOLEN)
def test_devices_come_back_when_the_keys_are_revoked(site, stolen):
    honest = site.noted()
    site.forge(
        site.thief(*stolen.split()), lambda found: found.changed.update(STOLEN[stolen]), HIGH
    )
    report = site.sync()  # nothing tells the thief's signature from an honest one
    assert report.status == "current"
    site.serve(honest)
    site.publish(1)
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"
    revoke(site.repo, site.signers, stolen.split())
    assert site.sync().status == "updated"
    assert site.release_of() == "1"
    assert site.sync().requests == 1


def test_a_timestamp_that_names_a_snapshot_which_nobody_can_sign(site):
    honest = site.noted()

    def change(found):
        found.timestamp.snapshot_meta.version = HIGH

    site.forge(site.thief("timestamp"), change, HIGH)
    with pytest.raises(SyncError):
        site.sync()
    site.serve(honest)
    site.publish(1)
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    revoke(site.repo, site.signers, ["timestamp"])
    assert site.sync().status == "updated"
    assert site.release_of() == "1"
