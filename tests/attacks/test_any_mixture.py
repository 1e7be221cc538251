"""Any mixture of what an honest publisher ever signed, and any damage, on the server.

A phone takes one consistent state that is not older than its own, or nothing; and when the server
is honest again, it follows.
"""

import json
import shutil
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketrec_edge.errors import SyncError
from pocketrec_server.repository.rotation import rotate

STATES = 4
NUMBERS = count()


@pytest.fixture
def history(site):
    """Copies of the repository at four times, and the release that each offers."""
    found = [(site.noted(), "0")]
    site.publish(1)
    found.append((site.noted(), "1"))
    rotate(site.repo, site.signers, ["timestamp", "stable"])
    found.append((site.noted(), "1"))
    site.publish(2)
    return [*found, (site.noted(), site.releases[2].name)]


def damaged(data: bytes, how: tuple[str, int]) -> bytes:
    kind, at = how[0], how[1] % max(1, len(data))
    if kind == "cut":
        return data[:at]
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else data
    return data + data


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    start=st.integers(0, STATES - 1),
    base=st.integers(0, STATES - 1),
    others=st.dictionaries(st.integers(0, 39), st.integers(0, STATES - 1), max_size=5),
    damages=st.dictionaries(
        st.integers(0, 39),
        st.tuples(st.sampled_from(["cut", "flip", "double"]), st.integers(0, 4000)),
        max_size=2,
    ),
)
def test_a_phone_takes_one_state_that_is_not_older_or_none(
    site, history, start, base, others, damages
):
    home = f"phone {next(NUMBERS)}"
    site.serve(history[start][0])
    site.sync(home=home)
    mix(site, [folder for folder, _ in history], base, others, damages)
    before = version(site, home)
    try:
        site.sync(home=home)
    except SyncError:
        assert site.release_of(home) == history[start][1]
    assert site.release_of(home) in {release for _, release in history[start:]}
    assert version(site, home) >= before
    site.serve(history[-1][0])
    site.sync(home=home)
    assert site.release_of(home) == history[-1][1]


def version(site, home):
    path = site.folder / home / "tuf" / "timestamp.json"
    return json.loads(path.read_bytes())["signed"]["version"]


def mix(site, folders, base, others, damages):
    """Put metadata and small targets there as they were, or were not, some at other times."""
    names = {
        path.relative_to(folder)
        for folder in folders
        for part in ("metadata", "targets/channels")
        for path in (folder / part).rglob("*.json")
    }
    for n, name in enumerate(sorted(names)):
        source, place = folders[others.get(n, base)] / name, site.repo / name
        if source.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
            if n in damages:
                place.write_bytes(damaged(place.read_bytes(), damages[n]))
        else:
            place.unlink(missing_ok=True)
