import dataclasses
import os
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pocketrec_bundle import reader
from pocketrec_bundle.disk.files import canonical_json, sha256_file
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.manifest import parse_manifest
from pocketrec_bundle.reader import open_bundle
from pocketrec_bundle.writer import BundleWriter


@pytest.mark.parametrize("version", [1, 2])
def test_every_id_is_found_and_unknown_ones_are_not(make_bundle, version):
    opened = open_bundle(make_bundle(version=version))
    assert opened.manifest.format_version == version
    ids = [opened.item_id(row) for row in range(opened.item_count)]
    assert ids == opened.item_ids() == ["a", "b", "10", "9", "é-1"]
    assert [opened.row_of(i) for i in ids] == [0, 1, 2, 3, 4]
    assert [opened.row_of(i) for i in ("", "A", "1", "zz", "é")] == [-1] * 5


def test_catalogue_keeps_the_asked_order(make_bundle):
    items = open_bundle(make_bundle()).catalogue([4, 0, 99])
    assert [(i.row, i.title, i.price, i.year) for i in items] == [
        (4, "T é-1", None, 1990),
        (0, "T a", None, 1990),
    ]


def test_same_input_gives_the_same_bytes_in_two_folders(make_bundle):
    first, second = make_bundle("one"), make_bundle("two")
    names = sorted(p.name for p in (first / "files").iterdir())
    assert names == sorted(p.name for p in (second / "files").iterdir())
    one = parse_manifest((first / "manifest.json").read_bytes())
    two = parse_manifest((second / "manifest.json").read_bytes())
    assert one.files == two.files


def test_existing_bundle_is_not_overwritten_without_force(make_bundle):
    folder = make_bundle()
    with pytest.raises(InputError, match="--force"):
        BundleWriter(folder)
    open_bundle(folder)


def test_abandoned_writer_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), BundleWriter(tmp_path / "b") as writer:
        writer.add("x", b"1", "json")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_json_that_no_device_would_read_is_not_written(tmp_path):
    with BundleWriter(tmp_path / "b") as writer:
        writer.add("golden.json", b" " * MAX_JSON_BYTES, "json")
        with pytest.raises(InputError, match="golden_cases"):
            writer.add("policy.json", b" " * (MAX_JSON_BYTES + 1), "json")


def test_flipped_bit_in_any_file_is_refused(make_bundle):
    folder = make_bundle()
    for path in sorted((folder / "files").iterdir()):
        data = path.read_bytes()
        if not data:
            continue
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(BundleInvalidError, match="SHA-256"):
            open_bundle(folder)
        path.write_bytes(data)
    open_bundle(folder)


def test_missing_truncated_and_swapped_files_are_refused(make_bundle):
    folder = make_bundle()
    paths = sorted((folder / "files").iterdir())
    data = paths[0].read_bytes()
    paths[0].unlink()
    with pytest.raises(BundleInvalidError, match="missing"):
        open_bundle(folder)
    paths[0].write_bytes(data[:-1])
    with pytest.raises(BundleInvalidError, match="bytes"):
        open_bundle(folder)
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(BundleInvalidError):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=4), "version"),
        (lambda m: m.update(extra=1), "keys"),
        (lambda m: m.update(files=[]), "files"),
        (lambda m: m["files"].reverse(), "sorted"),
        (lambda m: m["files"].append(m["files"][-1]), "unique"),
        (lambda m: m["files"][0].update(name="../../etc/passwd"), "name"),
        (lambda m: m["files"][0].update(name="/abs"), "name"),
        (lambda m: m["files"][0].update(sha256="../" + "0" * 61), "sha256"),
        (lambda m: m["files"][0].update(bytes=-1), "bytes"),
        (lambda m: m["files"][0].update(bytes=1 << 60), "bytes"),
        (lambda m: m["files"][0].update(bytes=True), "bytes"),
        (lambda m: m["files"][0].update(meta={"a": []}), "meta"),
        (lambda m: m.update(created_utc=-5), "created_utc"),
        (lambda m: m.update(name="x" * 201), "name"),
        (lambda m: m.update(created_utc=1 << 40), "created_utc"),
        (lambda m: m.update(format_version=True), "version"),
        (lambda m: m.update({"x" * 9000: 1, "y" * 9000: 1}), "keys"),
        (lambda m: m["files"][0].update(name="a" * 9000), "name"),
        (lambda m: m["files"][0].update(kind="k" * 201), "kind"),
        (lambda m: m["files"][0].update(meta={"a": True}), "meta"),
        (lambda m: m["files"][0].update(meta={"min_runtime": 2}), "min_runtime"),
        (lambda m: m["files"][0].update(meta={"max_abs_error": "much"}), "max_abs_error"),
    ],
)
def test_hostile_manifest_is_refused(make_bundle, edit_manifest, change, message):
    folder = make_bundle()
    edit_manifest(folder, change)
    with pytest.raises(BundleInvalidError, match=message) as refusal:
        open_bundle(folder)
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_manifest_that_is_no_manifest_is_refused(data):
    with pytest.raises(BundleInvalidError):
        parse_manifest(data)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_never_crash_the_manifest_reader(data):
    with pytest.raises(BundleInvalidError):
        parse_manifest(data)


def test_folder_without_manifest_says_so(tmp_path):
    with pytest.raises(BundleInvalidError, match="not a bundle"):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("index/offsets", np.array([0, 2, 4], np.int32), "rise"),
        ("index/offsets", np.zeros(0, np.int32), "centroids"),
        ("index/centroids", np.full((2, 4), np.nan, np.float32), "not within"),
        ("items/popular", np.zeros(2, np.float32), "popular"),
        ("items/popular", np.zeros((2, 2), np.int32), "popular"),
        ("items/popular", np.zeros(1001, np.int32), "1000"),
        ("items/popular", np.array([5], np.int32), "outside"),
    ],
)
def test_an_array_that_a_signer_spoilt_is_refused(make_bundle, resign, name, array, message):
    folder = make_bundle()
    resign(folder, {name: encode_array(array)})
    with pytest.raises(BundleInvalidError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("index/scales", np.full(5, 1.1e15, np.float32), "not within"),
        ("index/scales", np.full(5, np.inf, np.float32), "not within"),
        ("items/numeric", np.full((5, 3), -np.inf, np.float32), "not within"),
        ("items/ids_order", np.array([0, 1, 2, 3, -1], np.int32), "outside"),
        ("items/categories", np.full((5, 2), 3, np.uint16), "outside"),
        ("items/flags", np.ones(4, np.uint8), "expected"),
        ("items/ids_bytes", np.frombuffer("ab109é-1".encode(), np.int8), "ids_bytes"),
        ("items/ids_bytes", np.frombuffer(b"ab109\xff\xff-1", np.uint8), "UTF-8"),
        ("items/ids_bytes", np.frombuffer(b"ab109-11\xc3", np.uint8), "UTF-8"),
        ("items/ids_offsets", np.array([0, 1, 2, 4, 6, 9], np.int32), "inside a letter"),
    ],
)
def test_an_item_array_of_version_1_that_a_signer_spoilt_is_refused(
    make_bundle, resign, name, array, message
):
    folder = make_bundle(version=1)
    resign(folder, {name: encode_array(array)})
    with pytest.raises(BundleInvalidError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"index/scales.values": np.full(5, np.inf, np.float32)}, "not within"),
        ({"index/scales.values": np.ones(4, np.float32)}, "expected"),
        ({"items/numeric.2.values": np.full(5, np.nan, np.float32)}, "not within"),
        ({"items/numeric.2.values": np.full((5, 1), 1, np.float32)}, "expected"),
        ({"items/categories.values": np.full((5, 2), 3, np.uint16)}, "outside"),
        ({"items/categories.codes": np.array([0, 1, 2, 3, 5], np.uint8)}, "outside 0..4"),
        ({"items/categories.codes": np.array([0, 1, 2, -1, 0], np.int32)}, "outside"),
        ({"items/categories.codes": np.zeros(4, np.uint8)}, "expected"),
        ({"items/categories.codes": np.zeros(5, np.int8)}, "u1 or u2 or i4"),
        ({"items/categories.codes": np.zeros((5, 1), np.uint8)}, "expected"),
        ({"items/available": np.ones(2, np.uint8)}, "expected"),
        ({"items/available": np.ones(5, np.bool_).view(np.uint8)}, "expected"),
        ({"items/id_cells": np.array([1, 1, 0, 0, 2], np.uint8)}, "outside"),
        ({"items/id_cells": np.array([1, 0, 0, 0, 1], np.uint8)}, "as often"),
        ({"items/id_bytes": np.frombuffer("109abé-".encode(), np.uint8)}, "bytes in"),
        ({"items/id_bytes": np.frombuffer(b"109ab\xff\xff-1", np.uint8)}, "UTF-8"),
        ({"items/id_bytes": np.frombuffer(b"10\xc3\xa9ab9-1", np.uint8)}, "inside a letter"),
        ({"items/id_shapes.values": np.zeros((5, 3), np.uint16)}, "expected"),
    ],
)
def test_an_item_array_of_version_2_that_a_signer_spoilt_is_refused(
    make_bundle, resign, arrays, message
):
    folder = make_bundle(version=2)
    assert open_bundle(folder).item_ids() == ["a", "b", "10", "9", "é-1"]
    resign(folder, {name: encode_array(array) for name, array in arrays.items()})
    with pytest.raises(BundleInvalidError, match=message):
        open_bundle(folder)


@pytest.mark.parametrize("offsets", [[0, 3, 2, 5], [0, 2**31 - 1, -(2**31), -1, 5]])
def test_offsets_that_fall_are_refused_though_their_differences_wrap(make_bundle, resign, offsets):
    folder = make_bundle()
    arrays = {
        "index/offsets": np.array(offsets, np.int32),
        "index/centroids": np.zeros((len(offsets) - 1, 4), np.float32),
    }
    resign(folder, {name: encode_array(array) for name, array in arrays.items()})
    with pytest.raises(BundleInvalidError, match="rise"):
        open_bundle(folder)


NEIGHBOURS: dict[str, NDArray[Any]] = {
    "items/neighbours": np.zeros((5, 2), np.int32),
    "items/neighbour_weights": np.ones((5, 2), np.int8),
    "items/neighbour_scales": np.ones(5, np.float32),
}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("items/neighbours", np.full((5, 2), 5, np.int32)),
        ("items/neighbours", np.full((5, 2), -1, np.int32)),
        ("items/neighbours", np.zeros((5, 3), np.int32)),
        ("items/neighbour_weights", np.ones((5, 2), np.float32)),
        ("items/neighbour_scales", np.full(5, np.nan, np.float32)),
    ],
)
def test_neighbours_that_a_signer_spoilt_are_refused(make_bundle, resign, spec, name, array):
    folder = make_bundle()
    files = {key: encode_array(value) for key, value in NEIGHBOURS.items()}
    with_neighbours = dataclasses.replace(spec, neighbours=2)
    files["feature_spec.json"] = canonical_json(with_neighbours.to_json())
    resign(folder, files)
    open_bundle(folder)
    resign(folder, {name: encode_array(array)})
    with pytest.raises(BundleInvalidError, match=name):
        open_bundle(folder)


@pytest.mark.parametrize("version", [1, 2])
def test_a_release_without_items_or_cells_is_refused(make_bundle, resign, version):
    folder = make_bundle(version=version)
    opened = open_bundle(folder)
    names = [entry.name for entry in opened.manifest.files if entry.kind == "array"]
    none = {name: encode_array(opened.array(name)[:0]) for name in names}
    none |= {name: encode_array(opened.array(name)[:1]) for name in names if "offsets" in name}
    resign(folder, none)
    with pytest.raises(BundleInvalidError, match="no cells"):
        open_bundle(folder)


@pytest.fixture
def alarm():
    """Turns a read that never ends into a failure."""

    def ring(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", ["manifest.json", "files"])
@pytest.mark.parametrize("what", ["fifo", "/dev/zero", "directory", "loop"])
def test_what_is_no_file_is_refused_unread(make_bundle, resign, alarm, place, what):
    folder = make_bundle()
    resign(folder, {"extra": b""})  # size 0, as the system says of pipes and devices
    path = folder / place
    if place == "files":
        extra = open_bundle(folder).manifest.entry("extra")
        path /= extra.sha256
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to(path.name if what == "loop" else what)
    with pytest.raises(BundleInvalidError):
        open_bundle(folder)


def test_a_file_of_many_names_is_hashed_once(make_bundle, edit_manifest, monkeypatch):
    folder = make_bundle()

    def repeat(manifest):
        last = manifest["files"][-1]
        manifest["files"] += [{**last, "name": f"z/{i:04}"} for i in range(1000)]

    edit_manifest(folder, repeat)
    seen, plain = [], sha256_file

    def noted(path):
        seen.append(path)
        return plain(path)

    monkeypatch.setattr(reader, "sha256_file", noted)
    open_bundle(folder)
    assert len(seen) == len(set(seen)) == len(list((folder / "files").iterdir()))


@pytest.mark.parametrize("version", [1, 2])
def test_an_id_that_is_no_text_is_found_nowhere(make_bundle, version):
    assert open_bundle(make_bundle(version=version)).row_of("\udc80") == -1


def test_a_version_that_there_is_not_is_not_written(tmp_path):
    with pytest.raises(InputError, match="format version 4"):
        BundleWriter(tmp_path / "b", format_version=4)
