"""The manifest: the name, SHA-256 and size of each file of a release.

A name is a label and never a path. A file is found by its SHA-256, which is checked to be 64 hex
digits, so no manifest can lead outside the folder.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_number,
    is_text,
    parse_json,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError, BundleTooNewError

OLDEST_VERSION, USUAL_VERSION, FORMAT_VERSION = 1, 2, 3
"""Oldest, usual and newest format version that is read and written (FORMAT.md, "Versions").

A release is of the newest one only if it needs it: older apps do not read it.
"""
FIRST_CLIENTS = {1: "0.1.0", 2: "0.1.0", 3: "0.2.0"}
"""First version of the PocketRec client that reads each format version."""
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 4096
MAX_FILE_BYTES = 4 << 30
MAX_META = 64

_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*(/[a-z0-9][a-z0-9_.\-]*){0,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Meta = dict[str, str | int | float]

_KNOWN_META: dict[str, Callable[[object], bool]] = {
    "model": is_text,
    "engine": is_text,
    "variant": is_text,
    "min_runtime": is_text,
    "max_abs_error": is_number,
    "default": is_number,
    "targets": is_text,
    "forced": is_number,
    "stopped_by": is_text,
    "reproducible": is_number,
    "fit": is_text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a release.

    Attributes:
        name: logical name, such as "index/rows".
        sha256: of its content, 64 lower-case hex digits.
        bytes: its size.
        kind: such as "model" or "array".
        meta: facts about it; FORMAT.md, "Model files", lists those of a model.
    """

    name: str
    sha256: str
    bytes: int
    kind: str
    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a release.

    Attributes:
        name: of the release, for people.
        recipe_name: the recipe that made it.
        created_utc: unix seconds of the last event of the training data.
        files: sorted by name.
        format_version: see FORMAT.md, "Versions".
    """

    name: str
    recipe_name: str
    created_utc: int
    files: tuple[FileEntry, ...]
    format_version: int = USUAL_VERSION

    def entry(self, name: str) -> FileEntry:
        """Return the entry of a logical name.

        Raises:
            BundleInvalidError: the release has no such file.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise BundleInvalidError(
            f"the release {self.name!r} has no file {name!r}", code="file_unlisted"
        )

    def total_bytes(self) -> int:
        """Return the bytes of all files; a file with several names counts once."""
        return sum({file.sha256: file.bytes for file in self.files}.values())

    @property
    def fit(self) -> str:
        """Fit of the models: "final" if they learned from all events of the log.

        "evaluation" if the newest events were held back from them; "" in releases of 0.1.0.
        """
        fits = [str(file.meta["fit"]) for file in self.files if "fit" in file.meta]
        return fits[0] if fits else ""

    def models(self, model: str, engine: str) -> list[FileEntry]:
        """Return the files of a model for an engine: defaults first, then by size, then by name.

        FORMAT.md, "Model files", says how a device chooses among them.
        """
        files = [
            f
            for f in self.files
            if f.kind == "model" and f.meta.get("model") == model and f.meta.get("engine") == engine
        ]
        return sorted(files, key=lambda f: (not f.meta.get("default"), f.bytes))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Encode a manifest; the same manifest always gives the same bytes."""
    return canonical_json(asdict(manifest))


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest from untrusted bytes.

    Raises:
        BundleTooNewError: the format version is newer than `FORMAT_VERSION`.
        BundleInvalidError: it is too large, is not JSON of the right form, has a bad name, hash or
            size, or two files have one name.
    """
    value = parse_json("manifest.json", data, MAX_MANIFEST_BYTES)
    if not isinstance(value, dict):
        raise BundleInvalidError("manifest.json: not an object", code="manifest_keys")
    version: Any = value.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleTooNewError(_knows(version))
    if not is_integer(version, OLDEST_VERSION, FORMAT_VERSION):
        raise BundleInvalidError(_knows(version), code="manifest_version")
    if value.keys() != Manifest.__dataclass_fields__.keys():
        raise BundleInvalidError(
            f"manifest.json: unexpected keys {shown(sorted(value))}", code="manifest_keys"
        )
    files = value["files"]
    if not isinstance(files, list) or not 1 <= len(files) <= MAX_FILES:
        raise BundleInvalidError(
            f"manifest.json: files must be a list of 1..{MAX_FILES}", code="manifest_files"
        )
    entries = tuple(_entry(file) for file in files)
    names = [entry.name for entry in entries]
    if names != sorted(set(names)):
        raise BundleInvalidError(
            "manifest.json: file names must be unique and sorted", code="manifest_files"
        )
    for key in ("name", "recipe_name"):
        if not is_text(value[key]):
            raise BundleInvalidError(
                f"manifest.json: {key} must be a text of at most 200 characters",
                code="manifest_value",
            )
    if not is_integer(value["created_utc"], 0, MAX_UTC):
        raise BundleInvalidError(
            "manifest.json: created_utc must be unix seconds", code="manifest_value"
        )
    return Manifest(
        name=value["name"],
        recipe_name=value["recipe_name"],
        created_utc=value["created_utc"],
        files=entries,
        format_version=version,
    )


def _knows(version: object) -> str:
    return (
        f"manifest.json: format version {shown(version)}; this reader knows {OLDEST_VERSION} "
        f"to {FORMAT_VERSION}. Update the app, or export for version {FORMAT_VERSION}."
    )


def _entry(value: Any) -> FileEntry:
    if not isinstance(value, dict) or value.keys() != FileEntry.__dataclass_fields__.keys():
        raise BundleInvalidError(
            "manifest.json: a file entry lacks keys or has unknown ones", code="manifest_keys"
        )
    name, sha256, meta = value["name"], value["sha256"], value["meta"]
    if not is_text(name) or not _NAME.fullmatch(name):
        raise BundleInvalidError(
            f"manifest.json: bad file name {shown(name)}", code="manifest_name"
        )
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BundleInvalidError(
            f"manifest.json: {name}: sha256 must be 64 hex digits", code="manifest_hash"
        )
    if not is_integer(value["bytes"], 0, MAX_FILE_BYTES):
        raise BundleInvalidError(
            f"manifest.json: {name}: bytes must be 0..{MAX_FILE_BYTES}", code="manifest_value"
        )
    if not is_text(value["kind"]) or not isinstance(meta, dict) or len(meta) > MAX_META:
        raise BundleInvalidError(f"manifest.json: {name}: bad kind or meta", code="manifest_value")
    if not all(is_text(v) or is_number(v) for v in (*meta, *meta.values())):
        raise BundleInvalidError(
            f"manifest.json: {name}: meta holds short texts and numbers only", code="manifest_value"
        )
    for key, is_right in _KNOWN_META.items():
        if key in meta and not is_right(meta[key]):
            raise BundleInvalidError(
                f"manifest.json: {name}: bad {key} in meta", code="manifest_value"
            )
    return FileEntry(name=name, sha256=sha256, bytes=value["bytes"], kind=value["kind"], meta=meta)
