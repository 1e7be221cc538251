"""Faults of the manifest, and of files that are not what it says."""

from typing import Any

from pocketrec_bundle.manifest import MAX_FILES, MAX_MANIFEST_BYTES, MAX_META
from pocketrec_export.conformance.defects.defect import (
    Defect,
    blob,
    dropping,
    manifest,
    odd,
    raw_manifest,
    setting,
    without,
)

FIRST = ("files", 0)


def _repeated(value: Any) -> None:
    value["files"].insert(0, value["files"][0])


def _backwards(value: Any) -> None:
    value["files"].reverse()


def _many(value: Any) -> None:
    entry = value["files"][-1]
    value["files"] += [entry | {"name": f"z/{at:04}"} for at in range(MAX_FILES)]


DEFECTS = (
    Defect(
        name="manifest-missing",
        code="manifest_missing",
        fault="manifest.json is missing",
        make=odd("manifest.json", "missing"),
    ),
    Defect(
        name="manifest-is-a-folder",
        code="manifest_missing",
        fault="manifest.json is a folder",
        make=odd("manifest.json", "directory"),
    ),
    Defect(
        name="manifest-too-large",
        code="json_size",
        fault=f"manifest.json has more than {MAX_MANIFEST_BYTES} bytes",
        make=raw_manifest(lambda data: data + b" " * MAX_MANIFEST_BYTES),
    ),
    Defect(
        name="manifest-empty",
        code="json_malformed",
        fault="manifest.json is empty",
        make=raw_manifest(lambda _: b""),
    ),
    Defect(
        name="manifest-cut",
        code="json_malformed",
        fault="manifest.json is cut short",
        make=raw_manifest(lambda data: data[:-2]),
    ),
    Defect(
        name="manifest-two-values",
        code="json_malformed",
        fault="a second value follows",
        make=raw_manifest(lambda data: data + b"{}"),
    ),
    Defect(
        name="manifest-key-twice",
        code="json_malformed",
        fault="a key stands twice in an object",
        make=raw_manifest(lambda data: b'{"name":"x",' + data[1:]),
    ),
    Defect(
        name="manifest-byte-order-mark",
        code="json_malformed",
        fault="it begins with a byte order mark",
        make=raw_manifest(lambda data: b"\xef\xbb\xbf" + data),
    ),
    Defect(
        name="manifest-utf-16",
        code="json_malformed",
        fault="it is UTF-16",
        make=raw_manifest(lambda data: data.decode().encode("utf-16")),
    ),
    Defect(
        name="manifest-half-a-letter",
        code="json_malformed",
        fault="a text has half of a letter",
        make=raw_manifest(lambda data: data.replace(b'"tiny"', b'"\\ud800"')),
    ),
    Defect(
        name="manifest-not-a-number",
        code="json_malformed",
        fault="a number is NaN",
        make=raw_manifest(
            lambda data: data.replace(b'"created_utc":1700000000', b'"created_utc":NaN')
        ),
    ),
    Defect(
        name="manifest-deep",
        code="json_malformed",
        fault="100,000 brackets",
        make=raw_manifest(lambda _: b"[" * 100_000),
    ),
    Defect(
        name="manifest-list",
        code="manifest_keys",
        fault="it is a list",
        make=manifest(lambda _: []),
    ),
    Defect(
        name="manifest-too-new",
        code="too_new",
        fault="format version 4, with a key that version 4 might have",
        make=manifest(lambda v: v | {"format_version": 4, "more": {}}),
    ),
    Defect(
        name="manifest-version-0",
        code="manifest_version",
        fault="format version 0",
        make=manifest(setting("format_version", to=0)),
    ),
    Defect(
        name="manifest-version-text",
        code="manifest_version",
        fault='format version "2", a text',
        make=manifest(setting("format_version", to="2")),
    ),
    Defect(
        name="manifest-version-fraction",
        code="manifest_version",
        fault="format version 2.0",
        make=manifest(setting("format_version", to=2.0)),
    ),
    Defect(
        name="manifest-key-missing",
        code="manifest_keys",
        fault="no key name",
        make=manifest(dropping("name")),
    ),
    Defect(
        name="manifest-key-unknown",
        code="manifest_keys",
        fault="a key that no version has",
        make=manifest(lambda v: v | {"more": 1}),
    ),
    Defect(
        name="manifest-no-files",
        code="manifest_files",
        fault="the list of files is empty",
        make=manifest(setting("files", to=[])),
    ),
    Defect(
        name="manifest-many-files",
        code="manifest_files",
        fault=f"more than {MAX_FILES} files",
        make=manifest(_many),
    ),
    Defect(
        name="manifest-name-twice",
        code="manifest_files",
        fault="two files have one name",
        make=manifest(_repeated),
    ),
    Defect(
        name="manifest-unsorted",
        code="manifest_files",
        fault="files are not sorted by name",
        make=manifest(_backwards),
    ),
    Defect(
        name="manifest-long-name",
        code="manifest_value",
        fault="the release's name has 201 letters",
        make=manifest(setting("name", to="x" * 201)),
    ),
    Defect(
        name="manifest-time-fraction",
        code="manifest_value",
        fault="created_utc is 1.5",
        make=manifest(setting("created_utc", to=1.5)),
    ),
    Defect(
        name="entry-key-missing",
        code="manifest_keys",
        fault="an entry has no meta",
        make=manifest(dropping(*FIRST, "meta")),
    ),
    Defect(
        name="entry-traversal",
        code="manifest_name",
        fault="a file is named ../../etc/passwd",
        make=manifest(setting(*FIRST, "name", to="../../etc/passwd")),
    ),
    Defect(
        name="entry-absolute",
        code="manifest_name",
        fault="a file is named /etc/passwd",
        make=manifest(setting(*FIRST, "name", to="/etc/passwd")),
    ),
    Defect(
        name="entry-upper-case",
        code="manifest_name",
        fault="a file's name has an upper-case letter",
        make=manifest(setting(*FIRST, "name", to="Campaigns.json")),
    ),
    Defect(
        name="entry-hash-traversal",
        code="manifest_hash",
        fault="a hash is a path",
        make=manifest(setting(*FIRST, "sha256", to="../manifest.json")),
    ),
    Defect(
        name="entry-hash-upper-case",
        code="manifest_hash",
        fault="a hash has upper-case digits",
        make=manifest(setting(*FIRST, "sha256", to="A" * 64)),
    ),
    Defect(
        name="entry-size-negative",
        code="manifest_value",
        fault="a file has -1 bytes",
        make=manifest(setting(*FIRST, "bytes", to=-1)),
    ),
    Defect(
        name="entry-size-true",
        code="manifest_value",
        fault="a file has true bytes",
        make=manifest(setting(*FIRST, "bytes", to=True)),
    ),
    Defect(
        name="entry-kind-number",
        code="manifest_value",
        fault="a file's kind is 1",
        make=manifest(setting(*FIRST, "kind", to=1)),
    ),
    Defect(
        name="entry-meta-large",
        code="manifest_value",
        fault=f"a file's meta has more than {MAX_META} keys",
        make=manifest(setting(*FIRST, "meta", to={f"k{at}": at for at in range(MAX_META + 1)})),
    ),
    Defect(
        name="entry-meta-list",
        code="manifest_value",
        fault="a file's meta holds a list",
        make=manifest(setting(*FIRST, "meta", "more", to=[])),
    ),
    Defect(
        name="entry-meta-wrong",
        code="manifest_value",
        fault="min_runtime in a file's meta is a number",
        make=manifest(setting(*FIRST, "meta", "min_runtime", to=1)),
    ),
    Defect(
        name="file-unlisted",
        code="file_unlisted",
        fault="the manifest does not list index/rows",
        make=without("index/rows"),
    ),
    Defect(
        name="file-missing",
        code="file_missing",
        fault="index/rows is not on the disk",
        make=odd("index/rows", "missing"),
    ),
    Defect(
        name="file-is-a-folder",
        code="file_missing",
        fault="index/rows is a folder",
        make=odd("index/rows", "directory"),
    ),
    Defect(
        name="file-cut",
        code="file_size",
        fault="index/rows is a byte shorter",
        make=blob("index/rows", lambda data: data[:-1]),
    ),
    Defect(
        name="file-longer",
        code="file_size",
        fault="index/rows is a byte longer",
        make=blob("index/rows", lambda data: data + b"\x00"),
    ),
    Defect(
        name="file-flipped-bit",
        code="file_hash",
        fault="a bit of index/rows differs",
        make=blob("index/rows", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    ),
    Defect(
        name="file-flipped-model",
        code="file_hash",
        fault="a bit of a model differs",
        make=blob("models/ranker.onnx.fp32", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    ),
)
