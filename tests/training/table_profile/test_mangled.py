"""Damaged files give a recipe that parses, or a refusal; never another error."""

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketrec_bundle.errors import PocketRecError
from pocketrec_training.table_profile.profile import profile_files
from pocketrec_training.table_profile.recipe_text import recipe_text
from pocketrec_training.table_profile.report import profile_json, profile_lines

PIECES = [
    b'"',
    b"\n\n",
    b"\r",
    b"\0",
    b",",
    b"\t",
    b"::",
    b"nan",
    b"-1e400",
    b"{",
    b"]",
    b"\xff\x0e",
]


def mangled(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, n_deleted, piece in changes:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + n_deleted :]
    return data


@pytest.fixture(scope="module")
def contents(write_layout, tmp_path_factory):
    names = ("movielens_1m", "amazon_2023", "mind", "steam_200k", "book_crossing")
    files = [write_layout(name, tmp_path_factory.mktemp(name)) for name in names]
    return [[(path.name, path.read_bytes()) for path in some] for some in files]


CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from((0, 1, 40, 10**9)), st.sampled_from(PIECES)),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.integers(0, 4), changes=CHANGES)
def test_a_mangled_file_gives_a_recipe_or_a_refusal(contents, which, changes):
    with TemporaryDirectory() as folder:
        files = [Path(folder) / name for name, _ in contents[which]]
        for path, (_, data) in zip(files, contents[which], strict=True):
            path.write_bytes(mangled(data, changes))
        try:
            profile = profile_files(files)
        except PocketRecError as err:
            assert len(str(err).splitlines()) <= 12
            return
        assert tomllib.loads(recipe_text(profile))["columns"].keys() >= {"user", "item"}
        assert list(profile_lines(profile))
        assert profile_json(profile)["files"]
