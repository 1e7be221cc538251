"""Arbitrary software installation: the server hands out files of the attacker's choice."""

import pytest

from pocketrec_edge.errors import SyncError
from pocketrec_server.repository.keys import load_signers
from pocketrec_server.repository.publish import found_repository, publish


def test_a_repository_of_other_keys_is_refused(site):
    site.thief()
    site.repo.rename(site.folder / "honest")
    found_repository(site.repo, load_signers(site.folder / "thief"))
    publish(site.releases[2], site.repo, load_signers(site.folder / "thief"), "stable")
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


def test_a_file_that_was_changed_is_refused(site):
    for path in (site.repo / "targets" / "files").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync(home="new phone")
    assert site.release_of("new phone") is None


@pytest.mark.parametrize("name", ["policy.json", "manifest"])
def test_a_small_target_that_was_changed_is_refused(site, name):
    site.publish(1)
    for path in (site.repo / "targets" / "channels" / "stable").glob("*.json"):
        if path.name.endswith("policy.json") == (name == "policy.json"):
            path.write_bytes(path.read_bytes().replace(b'"', b"'"))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"
