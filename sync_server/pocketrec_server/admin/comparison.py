"""Compare two releases by their signed manifests and settings, for the page of a release."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.encoding.strict_json import parse_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.manifest import FileEntry, Manifest
from pocketrec_bundle.reader import verify_file
from pocketrec_server.repository.blobs import file_path

CARD = "model_card.json"
MAX_JSON_BYTES = 4 << 20
MOST_SETTINGS = 60
_SETTINGS = ("policy.json", "rules.json", "campaigns.json", "feature_spec.json")
_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a release: all files of one folder, such as `index`.

    Attributes:
        name: folder of the files' names, or the name of a single file.
        files: number of files.
        bytes: size of all its files.
        before_bytes: size in the other release; None if that has no such part.
        changed: number of files that are new or have another content.
    """

    name: str
    files: int
    bytes: int
    before_bytes: int | None
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting that differs: its file and key, and both values as short texts."""

    key: str
    before: str
    after: str


def parts(manifest: Manifest, before: Manifest | None) -> list[Part]:
    """List the parts of a release, and how they differ from another release."""
    old = {entry.name: entry for entry in before.files} if before else {}
    now: dict[str, list[FileEntry]] = {}
    for entry in manifest.files:
        now.setdefault(_part(entry.name), []).append(entry)
    sizes: dict[str, int] = {}
    for entry in old.values():
        sizes[_part(entry.name)] = sizes.get(_part(entry.name), 0) + entry.bytes
    return [
        Part(
            name=name,
            files=len(entries),
            bytes=sum(entry.bytes for entry in entries),
            before_bytes=sizes.get(name),
            changed=sum(_differs(entry, old.get(entry.name)) for entry in entries),
        )
        for name, entries in now.items()
    ]


def removed(manifest: Manifest, before: Manifest) -> list[str]:
    """Return the names of files that only the other release has."""
    names = {entry.name for entry in manifest.files}
    return [entry.name for entry in before.files if entry.name not in names]


def kind_of(manifest: Manifest, before: Manifest) -> str:
    """Describe a release in relation to another one: new models, or the same ones."""
    models, old = _models(manifest), _models(before)
    if not models:
        return "without models"
    if models == old:
        return "catalogue update: same models"
    return "new models" if not models & old else "some new models"


def settings(repo: Path, manifest: Manifest, before: Manifest) -> tuple[list[Setting], int]:
    """Return the settings that differ, at most MOST_SETTINGS, and the number of all of them.

    A setting is a leaf of a JSON file of settings, e.g. `rules.json: depth`. Files that cannot be
    read are skipped: `parts` still reports that they changed.
    """
    found: list[Setting] = []
    for name in _SETTINGS:
        new, old = read_json(repo, manifest, name), read_json(repo, before, name)
        if new is None and old is None:
            continue
        after, was = _leaves(new), _leaves(old)
        keys = [key for key in {**was, **after} if was.get(key) != after.get(key)]
        found += [
            Setting(key=f"{name}: {key}", before=was.get(key, ""), after=after.get(key, ""))
            for key in keys
        ]
    return found[:MOST_SETTINGS], len(found)


def read_json(repo: Path, manifest: Manifest, name: str) -> dict[str, Any] | None:
    """Read a JSON object of a release; None if it is missing, damaged, too large or not one."""
    entry = next((one for one in manifest.files if one.name == name), None)
    if entry is None or entry.bytes > MAX_JSON_BYTES:
        return None
    path = file_path(repo, entry.sha256)
    try:
        verify_file(entry, path)
        value = parse_json(name, path.read_bytes(), MAX_JSON_BYTES)
    except (OSError, BundleInvalidError):
        return None
    return value if isinstance(value, dict) else None


def _part(name: str) -> str:
    folder, slash, _ = name.partition("/")
    return folder + slash


def _differs(entry: FileEntry, old: FileEntry | None) -> bool:
    return old is None or old.sha256 != entry.sha256


def _models(manifest: Manifest) -> set[str]:
    return {entry.sha256 for entry in manifest.files if entry.kind == "model"}


def _leaves(value: object, key: str = "") -> dict[str, str]:
    """Flatten a JSON value to its leaves: path of keys -> short text."""
    if isinstance(value, dict) and value:
        pairs = [(f"{key}.{name}" if key else str(name), one) for name, one in value.items()]
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        pairs = [(f"{key}[{n}]", one) for n, one in enumerate(value, 1)]
    else:
        text = "" if value is None else json.dumps(value, ensure_ascii=False)
        return {key: text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."} if key else {}
    return {path: text for name, one in pairs for path, text in _leaves(one, name).items()}
