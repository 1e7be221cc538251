"""Mix-and-match: parts of different times, or of different releases, that never were together."""

import shutil

import pytest

from pocketrec_edge.errors import SyncError


@pytest.mark.parametrize("role", ["snapshot", "stable"])
def test_metadata_of_another_time_is_refused(site, role):
    """Properly signed, under the file name of the newest version."""
    old = newest(site, role)
    site.publish(1)
    shutil.copy(old, newest(site, role))
    with pytest.raises(SyncError, match="not to be trusted"):
        site.sync()
    assert site.release_of() == "0"


def test_a_policy_and_a_manifest_of_another_time_are_refused(site):
    folder = site.repo / "targets" / "channels" / "stable"
    (old,) = folder.glob("*.policy.json")
    before = set(folder.iterdir())
    site.publish(1)
    for path in set(folder.iterdir()) - before:
        shutil.copy(old, path)
    with pytest.raises(SyncError, match="release on this phone stays"):
        site.sync()
    assert site.release_of() == "0"


def newest(site, role):
    paths = (site.repo / "metadata").glob(f"*.{role}.json")
    return max(paths, key=lambda path: int(path.name.partition(".")[0]))
