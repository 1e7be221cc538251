"""Wrong software installation: a correctly signed file is served instead of another one."""

import shutil

import pytest

from pocketrec_edge.errors import SyncError


def test_a_release_of_another_channel_is_refused(site):
    """Canary's newest metadata, under the name of stable's."""
    site.publish(2, "canary")
    site.publish(1, "stable")
    shutil.copy(site.metadata("3.canary.json"), site.metadata("3.stable.json"))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


def test_two_files_of_a_release_that_change_places_are_refused(site):
    by_size = sorted((site.repo / "targets" / "files").iterdir(), key=lambda p: -p.stat().st_size)
    one, two = by_size[:2]
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    with pytest.raises(SyncError, match="release on this phone stays"):
        site.sync(home="new phone")
    assert site.release_of("new phone") is None
