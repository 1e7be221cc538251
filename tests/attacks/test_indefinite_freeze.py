"""Indefinite freeze: the server hands out what a phone has seen, for ever."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from edge_runtime.errors import SyncError
from sync_server.repository import refresh
from sync_server.roles import TIMESTAMP, lifetime

SECOND = timedelta(seconds=1)


def test_what_is_frozen_expires_even_if_it_is_the_same_bytes(site):
    almost = datetime.now(UTC) - lifetime(TIMESTAMP) + 2 * SECOND
    refresh(site.repo, site.signers, everything=True, now=almost)
    frozen = site.noted()
    site.sync()
    site.publish(1)
    site.serve(frozen)
    time.sleep(2.1)
    with pytest.raises(SyncError, match="expired: nobody signed it again"):
        site.sync()
    assert site.release_of() == "0"


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "stable"])
def test_expired_metadata_of_any_role_is_refused(site, role):
    """Each role's own expiry counts, though everything above it is fresh."""
    past = datetime.now(UTC) - lifetime(role) - SECOND
    site.publish(1)

    def change(found):
        found.changed |= {role, "snapshot"} - {"timestamp"}
        if role == "root":
            found.next_root()

    site.forge(site.signers, change)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sync_server.state.lifetime", aged(role, past))
        site.forge(site.signers, change)
    with pytest.raises(SyncError, match="expired"):
        site.sync()
    assert site.release_of() == "0"


def aged(role, until):
    """A lifetime that ends at a moment for one role, and is as ever for the others."""
    left = until + lifetime(role) - datetime.now(UTC)
    return lambda each: left if each == role else lifetime(each)
