"""Indefinite freeze: the server hands out what a phone has seen, for ever."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_edge.sync.metadata import ROOT_EVERY_S
from pocketrec_server.repository.publish import refresh
from pocketrec_server.repository.roles import TIMESTAMP, lifetime
from pocketrec_server.repository.rotation import revoke

SECOND = timedelta(seconds=1)


def test_what_is_frozen_expires_even_if_it_is_the_same_bytes(site):
    almost = datetime.now(UTC) - lifetime(TIMESTAMP) + 2 * SECOND
    refresh(site.repo, site.signers, everything=True, now=almost)
    frozen = site.noted()
    site.sync()
    site.publish(1)
    site.serve(frozen)
    time.sleep(2.1)
    with pytest.raises(SyncError, match="expired: nobody renewed its signature"):
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
        patch.setattr("pocketrec_server.repository.state.lifetime", aged(role, past))
        site.forge(site.signers, change)
    with pytest.raises(SyncError, match="expired"):
        site.sync()
    assert site.release_of() == "0"


def aged(role, until):
    """A lifetime that ends at a moment for one role, and is as ever for the others."""
    left = until + lifetime(role) - datetime.now(UTC)
    return lambda each: left if each == role else lifetime(each)


def test_keys_that_change_during_a_check_are_followed_by_the_same_check(site):
    """The timestamp came before the root that takes its key away."""
    site.publish(1)

    def change(handler):
        if handler.path.endswith("/2.root.json") and not site.metadata("2.root.json").exists():
            revoke(site.repo, site.signers, ["timestamp"])
        return False

    site.attacks.append(change)
    assert site.sync().status == "updated"
    assert site.release_of() == "1"


def test_a_timestamp_whose_key_was_revoked_is_believed_for_a_day_at_most(site):
    """The attacker repeats the unchanged answer; the newest root is not theirs to hide."""
    frozen = site.metadata("timestamp.json").read_bytes()
    revoke(site.repo, site.signers, ["timestamp"])

    def old(handler):
        if not handler.path.endswith("/timestamp.json"):
            return False
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(frozen)
        return True

    site.attacks.append(old)
    assert site.sync().status == "current"
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync(clock=lambda: time.time() + ROOT_EVERY_S)
    assert site.release_of() == "0"
    site.attacks.clear()
    assert site.sync().status == "current"
