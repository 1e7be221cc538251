"""Extraneous dependencies: what is signed brings in what its signer has no say in."""

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_server.repository import blobs
from pocketrec_server.repository import publish as repository

PATH = "channels/stable/policy.json"


def test_a_channel_cannot_sign_for_another(site):
    """The thief has canary's key and the online ones, and signs stable's targets with them."""

    def change(found):
        targets = found.edit("canary").targets
        policy = repository.read_policy(site.repo, "stable").to_bytes()
        evil = policy.replace(b'"name":"0"', b'"name":"E"')
        targets[PATH] = blobs.store(site.repo, PATH, evil)
        del found.edit("stable").targets[PATH]

    site.forge(site.thief("stable", "canary", "snapshot", "timestamp"), change)
    with pytest.raises(SyncError, match="no release"):
        site.sync()
    assert site.release_of() == "0"
