import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.errors import BundleInvalid, InputError
from bundle.manifest import parse_manifest
from bundle.reader import open_bundle
from bundle.writer import BundleWriter


def test_every_id_is_found_and_unknown_ones_are_not(make_bundle):
    opened = open_bundle(make_bundle())
    ids = [opened.item_id(row) for row in range(opened.item_count)]
    assert ids == ["b", "a", "é-1", "10", "9"]
    assert [opened.row_of(i) for i in ids] == [0, 1, 2, 3, 4]
    assert [opened.row_of(i) for i in ("", "A", "1", "zz", "é")] == [-1] * 5


def test_catalogue_keeps_the_asked_order(make_bundle):
    items = open_bundle(make_bundle()).catalogue([4, 0, 99])
    assert [(i.row, i.title, i.price, i.year) for i in items] == [
        (4, "T 9", None, 1990),
        (0, "T b", None, 1990),
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


def test_flipped_bit_in_any_file_is_refused(make_bundle):
    folder = make_bundle()
    for path in sorted((folder / "files").iterdir()):
        data = path.read_bytes()
        if not data:
            continue
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(BundleInvalid, match="SHA-256"):
            open_bundle(folder)
        path.write_bytes(data)
    open_bundle(folder)


def test_missing_truncated_and_swapped_files_are_refused(make_bundle):
    folder = make_bundle()
    paths = sorted((folder / "files").iterdir())
    data = paths[0].read_bytes()
    paths[0].unlink()
    with pytest.raises(BundleInvalid, match="missing"):
        open_bundle(folder)
    paths[0].write_bytes(data[:-1])
    with pytest.raises(BundleInvalid, match="bytes"):
        open_bundle(folder)
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.raises(BundleInvalid):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "version"),
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
    ],
)
def test_hostile_manifest_is_refused(make_bundle, edit_manifest, change, message):
    folder = make_bundle()
    edit_manifest(folder, change)
    with pytest.raises(BundleInvalid, match=message):
        open_bundle(folder)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_manifest_that_is_no_manifest_is_refused(data):
    with pytest.raises(BundleInvalid):
        parse_manifest(data)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_random_bytes_never_crash_the_manifest_reader(data):
    with pytest.raises(BundleInvalid):
        parse_manifest(data)


def test_folder_without_manifest_says_so(tmp_path):
    with pytest.raises(BundleInvalid, match="not a bundle"):
        open_bundle(tmp_path)
