import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.items.audience import (
    AGE_RATINGS,
    MAX_REGIONS,
    REGIONS,
    Audience,
    OpenAudience,
    audience_files,
    open_audience,
)
from pocketrec_bundle.reader import open_bundle
from pocketrec_export.conformance.tiny_bundle import N_ITEMS, tiny_audience, write_tiny_bundle


class Files:
    """The files of a release, in memory."""

    def __init__(self, n_items, names, arrays):
        self.n_items, self.names, self.arrays = n_items, names, arrays

    def array(self, name):
        return self.arrays[name]

    def json(self, name):
        assert name == "regions.json"
        return json.loads(self.names)

    def lists(self, name):
        return name in self.arrays or (name == "regions.json" and self.names is not None)


def audience_of(items) -> Audience:
    return Audience(
        regions=[tuple(regions) for regions, _ in items],
        age_ratings=np.array([age for _, age in items], np.uint8),
    )


def written(audience, base=None):
    opened = OpenAudience() if base is None else open_audience(2, base, base.n_items)
    return Files(len(audience.regions), *audience_files(audience, opened, base))


REGION = st.sampled_from([f"r{at}" for at in range(12)])
ITEM = st.tuples(st.lists(REGION, max_size=3, unique=True), st.sampled_from([0, 12, 99, 255]))


@given(st.lists(ITEM, min_size=1, max_size=40), st.lists(ITEM, min_size=1, max_size=40))
@settings(deadline=None, max_examples=80)
def test_what_is_written_comes_back_also_after_another_release(before, items):
    first = written(audience_of(before))
    for base in (None, first):
        given_items = audience_of(items)
        files = written(given_items, base)
        found = open_audience(2, files, len(items)).of_items(len(items))
        assert [{*one} for one in found.regions] == [{*one} for one in given_items.regions]
        assert found.age_ratings.tolist() == given_items.age_ratings.tolist()
        assert files.lists("regions.json") == any(given_items.regions)
        assert files.lists(f"{AGE_RATINGS}.values") == any(age != 255 for _, age in items)


def test_the_bits_are_those_that_the_format_states():
    audience = audience_of([(("b", "i"), 255), ((), 255), (("a",), 255), (tuple("abcdefghi"), 6)])
    files = written(audience)
    assert json.loads(files.names) == {"version": 1, "names": list("abcdefghi")}
    regions = open_audience(2, files, 4).regions
    assert regions is not None
    assert regions[np.arange(4)].tolist() == [[2, 1], [0, 0], [1, 0], [255, 1]]


def test_a_later_release_keeps_the_bits_and_the_codes():
    items = [(tuple("bcdefghijk"), 6), (("c",), 12)] * 400
    one = written(audience_of(items))
    two = written(audience_of([*items[:-2], (("a",), 6), ((), 6)]), one)
    assert json.loads(two.names)["names"] == [*"bcdefghijka"]
    codes = f"{REGIONS}.codes"
    assert (one.array(codes) != two.array(codes)).sum() == 2


def test_a_base_full_of_names_that_nobody_uses_makes_room():
    one = written(audience_of([((f"r{at}",), 0) for at in range(MAX_REGIONS)]))
    two = written(audience_of([(("new",), 0)] * MAX_REGIONS), one)
    assert json.loads(two.names)["names"] == ["new"]


@pytest.mark.parametrize(
    "regions", [[(f"r{at}",) for at in range(MAX_REGIONS + 1)], [("a" * 201,)]]
)
def test_more_than_a_release_holds_is_refused(regions):
    with pytest.raises(InputError, match=r"Is columns\.regions right"):
        written(Audience(regions=regions, age_ratings=np.zeros(len(regions), np.uint8)))


def test_a_reader_of_version_1_passes_the_files_over(tmp_path, resign):
    write_tiny_bundle(tmp_path / "new")
    write_tiny_bundle(tmp_path / "old", 1)
    new = open_bundle(tmp_path / "new")
    names = ("regions.json", f"{REGIONS}.values", f"{REGIONS}.codes", f"{AGE_RATINGS}.values")
    resign(tmp_path / "old", {name: new.read(name) for name in names})
    old = open_bundle(tmp_path / "old")
    assert old.audience == OpenAudience()
    assert new.audience.of_items(N_ITEMS).regions == tiny_audience().regions


def names_file(*names, **others) -> dict[str, bytes]:
    return {"regions.json": json.dumps({"version": 1, "names": names, **others}).encode()}


def bits(array) -> dict[str, bytes]:
    return {f"{REGIONS}.values": encode_array(np.asarray(array))}


NAMES = [f"r{at:02}" for at in range(40)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (names_file(), r"list of 1\.\.256"),
        (names_file(*map(str, range(257))), r"list of 1\.\.256"),
        (names_file(*NAMES[:39], "r00"), "different short texts"),
        (names_file(*NAMES[:39], 7), "different short texts"),
        (names_file(*NAMES[:39], "r" * 201), "different short texts"),
        (names_file(*NAMES, version=2), "version 2"),
        (names_file(*NAMES, version=True), "version True"),
        (names_file(*NAMES, more=1), "keys differ"),
        ({"regions.json": b"[]"}, "keys differ"),
        (names_file(*NAMES, "r40"), REGIONS),  # six bytes a row
        (names_file(*NAMES[:33]), "beyond the 33 named"),
        (bits(np.zeros((N_ITEMS, 5), np.int8)), REGIONS),
        (bits(np.zeros((0, 5), np.uint8)), f"{REGIONS}.codes"),
        (bits(np.zeros(N_ITEMS, np.uint8)), REGIONS),
        ({f"{AGE_RATINGS}.values": encode_array(np.zeros(N_ITEMS, np.int8))}, AGE_RATINGS),
        ({f"{AGE_RATINGS}.values": encode_array(np.zeros(N_ITEMS + 1, np.uint8))}, AGE_RATINGS),
        (
            {f"{AGE_RATINGS}.codes": encode_array(np.full(N_ITEMS, N_ITEMS, np.uint8))},
            f"{AGE_RATINGS}.codes",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, resign, changed, told):
    write_tiny_bundle(tmp_path / "b")
    resign(tmp_path / "b", changed)
    with pytest.raises(BundleInvalidError, match=told):
        open_bundle(tmp_path / "b")


def test_names_without_their_column_are_refused(tmp_path, resign):
    write_tiny_bundle(tmp_path / "b", 2)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_bytes())
    kept = [one for one in manifest["files"] if not one["name"].startswith(REGIONS)]
    (tmp_path / "b" / "manifest.json").write_text(json.dumps({**manifest, "files": kept}))
    with pytest.raises(BundleInvalidError, match=f"{REGIONS}.values"):
        open_bundle(tmp_path / "b")
