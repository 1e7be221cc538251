"""The sound bundle, and a changed bundle as its difference from the sound one."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pocketrec_bundle.encoding.arrays import HEADER_BYTES, parse_header

ODD = ("missing", "directory", "fifo", "link_to_zero", "link_loop", "link_to_manifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A bundle folder, as its difference from the base.

    manifest: bytes of `manifest.json`; blobs: content of `files/<name>` where it is not the base's;
    odd: path in the folder and what replaces the file there, one of `ODD`.
    """

    manifest: bytes
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    odd: tuple[str, str] | None = None


@dataclass(frozen=True)
class Base:
    """The sound bundle: its manifest, parsed, and its files by logical name."""

    manifest: Any
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> "Base":
        """Read a bundle folder."""
        manifest = json.loads((folder / "manifest.json").read_bytes())
        entries = manifest["files"]
        files = {e["name"]: (folder / "files" / e["sha256"]).read_bytes() for e in entries}
        return cls(manifest, files)

    @cached_property
    def manifest_data(self) -> bytes:
        """The manifest's bytes."""
        return encode(self.manifest)

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, each a copy that may be written."""
        names = [e["name"] for e in self.manifest["files"] if e["kind"] == "array"]
        return {name: decoded(name, self.files[name]) for name in names}

    @cached_property
    def blobs(self) -> dict[str, bytes]:
        """The files by their hash."""
        return {self.sha256(name): data for name, data in self.files.items()}

    @property
    def version(self) -> int:
        """Its format version."""
        return int(self.manifest["format_version"])

    def sha256(self, name: str) -> str:
        """The hash of a file."""
        return hashlib.sha256(self.files[name]).hexdigest()

    def signed(self, changed: Mapping[str, bytes], gone: Iterable[str] = ()) -> Mutant:
        """Change files, add or remove some, and make the manifest fit."""
        manifest = copy.deepcopy(self.manifest)
        entries = {entry["name"]: entry for entry in manifest["files"]}
        for name, data in changed.items():
            entry = entries.setdefault(name, {"name": name, "kind": "json", "meta": {}})
            entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        manifest["files"] = [entries[name] for name in sorted(entries.keys() - set(gone))]
        blobs = {hashlib.sha256(data).hexdigest(): data for data in changed.values()}
        return Mutant(manifest=encode(manifest), blobs=blobs)


Mutator = Callable[[Base, Generator], Mutant]


def encode(value: object) -> bytes:
    """Encode JSON as a careless or hostile writer does: NaN and lone surrogates pass."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def decoded(name: str, data: bytes) -> NDArray[Any]:
    """Decode the array in the bytes of an array file."""
    dtype, shape = parse_header(name, data[:HEADER_BYTES], len(data), len(data))
    return np.frombuffer(data, dtype, offset=HEADER_BYTES).reshape(shape).copy()


def pick(rng: Generator, values: Any) -> Any:
    """Draw one of some values, unchanged."""
    values = list(values)
    return values[int(rng.integers(len(values)))]
