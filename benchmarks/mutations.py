"""Damaged and hostile forms of a bundle, each drawn from a seed; nothing here touches a disk.

Two kinds of enemy. A broken disk changes files under a manifest that stays: the hashes refuse it.
An attacker who can re-hash, or a publisher with a bug, changes files and makes the manifest fit:
then only the checks behind the hashes stand.
"""

import copy
import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.hostile_catalogues import hostile_catalogues
from bundle.arrays import HEADER_BYTES, encode_array, parse_header
from bundle.strict_json import MAX_JSON_BYTES

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
JSON_FILES = ("feature_spec.json", "golden.json", "policy.json")
ODD = ("missing", "directory", "fifo", "link_to_zero", "link_loop", "link_to_manifest")
HUGE = (0, 1, 2, 127, 255, 65_535, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62, 1 << 63)
NAMES = ("../x", "/etc/passwd", "a/../../b", "a//b", "A", "a/b/c/d/e", "", ".", "a\x00b", "a" * 300)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 0.5, -0.0, 1.0, 1e308, 1e-320),
    *(2**31, 2**63, 2**64, 10**400, -(10**400), math.nan, math.inf, -math.inf),
    *("", "x", "\ud800", "\x00", "\x1b[2J", "../x", "a" * 70_000, "1"),
    *([], {}, [[]], [None], [0] * 3000, {"a": {"a": []}}, ["x"] * 3000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A bundle folder, as its difference from the base.

    manifest: bytes of `manifest.json`; blobs: content of `files/<name>` where it is not the base's;
    odd: path in the folder and what lies there in place of a file, one of `ODD`.
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
        return {name: decoded(name, self.files[name]) for name in self.files if "/" in name}

    def sha256(self, name: str) -> str:
        """The hash of a file."""
        return hashlib.sha256(self.files[name]).hexdigest()

    def signed(self, changed: Mapping[str, bytes]) -> Mutant:
        """Change files, or add some, and make the manifest fit."""
        manifest = copy.deepcopy(self.manifest)
        entries = {entry["name"]: entry for entry in manifest["files"]}
        for name, data in changed.items():
            entry = entries.setdefault(name, {"name": name, "kind": "json", "meta": {}})
            entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        manifest["files"] = [entries[name] for name in sorted(entries)]
        blobs = {hashlib.sha256(data).hexdigest(): data for data in changed.values()}
        return Mutant(manifest=encode(manifest), blobs=blobs)


Mutator = Callable[[Base, Generator], Mutant]


def mutant(base: Base, seed: int, number: int) -> tuple[str, Mutant]:
    """Return the name of the mutation and the bundle of one case; the same for the same numbers."""
    rng = np.random.default_rng([seed, number])
    names = list(MUTATORS)
    name = names[number % len(names)]
    return name, MUTATORS[name](base, rng)


def encode(value: object) -> bytes:
    """JSON as a careless or hostile writer makes it: NaN and lone surrogates pass."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def decoded(name: str, data: bytes) -> NDArray[Any]:
    """The array in the bytes of an array file."""
    dtype, shape = parse_header(name, data[:HEADER_BYTES], len(data), len(data))
    return np.frombuffer(data, dtype, offset=HEADER_BYTES).reshape(shape).copy()


def pick(rng: Generator, values: Any) -> Any:
    """Draw one of some values, unchanged."""
    values = list(values)
    return values[int(rng.integers(len(values)))]


def damaged(data: bytes, rng: Generator) -> bytes:
    """Flip bits, cut, lengthen, or blank a stretch."""
    changed = bytearray(data)
    how = pick(rng, ("flip", "flip", "cut", "lengthen", "blank", "insert"))
    at = int(rng.integers(len(data) + 1))
    if how == "flip":
        for place in rng.integers(len(data), size=int(rng.integers(1, 9))) if data else ():
            changed[place] ^= 1 << int(rng.integers(8))
    elif how == "cut":
        del changed[at:]
    elif how == "lengthen":
        changed += bytes(int(rng.integers(1, 5000)))
    elif how == "blank":
        stop = min(len(data), at + int(rng.integers(1, 600)))
        changed[at:stop] = bytes([pick(rng, (0, 255))]) * (stop - at)
    else:
        changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(changed)


def disk_damage(base: Base, rng: Generator) -> Mutant:
    """A file changes under a manifest that does not."""
    name = pick(rng, base.files)
    blobs = {base.sha256(name): damaged(base.files[name], rng)}
    return Mutant(manifest=base.manifest_data, blobs=blobs)


def disk_swap(base: Base, rng: Generator) -> Mutant:
    """Two files change places, or one takes the other's."""
    one, two = pick(rng, base.files), pick(rng, base.files)
    blobs = {base.sha256(one): base.files[two]}
    if rng.random() < 0.5:
        blobs[base.sha256(two)] = base.files[one]
    return Mutant(manifest=base.manifest_data, blobs=blobs)


def manifest_damage(base: Base, rng: Generator) -> Mutant:
    """The manifest's bytes are damaged."""
    return Mutant(manifest=damaged(base.manifest_data, rng))


def odd_file(base: Base, rng: Generator) -> Mutant:
    """Something else lies where a file should; for half of them the manifest expects 0 bytes."""
    what = pick(rng, ODD)
    if rng.random() < 0.1:
        return Mutant(manifest=base.manifest_data, odd=("manifest.json", what))
    name = pick(rng, base.files)
    if rng.random() < 0.5:
        return Mutant(manifest=base.manifest_data, odd=(f"files/{base.sha256(name)}", what))
    empty = base.signed({name: b""})
    return Mutant(manifest=empty.manifest, odd=(f"files/{EMPTY_SHA256}", what))


def signed_damage(base: Base, rng: Generator) -> Mutant:
    """A file is damaged and the manifest made to fit."""
    name = pick(rng, base.files)
    return base.signed({name: damaged(base.files[name], rng)})


def names_swapped(base: Base, rng: Generator) -> Mutant:
    """Two names exchange their files, with hashes that fit."""
    one, two = pick(rng, base.files), pick(rng, base.files)
    return base.signed({one: base.files[two], two: base.files[one]})


def files_listed(base: Base, rng: Generator) -> Mutant:
    """The list of files lacks some, names new ones, or names one file thousands of times."""
    manifest = copy.deepcopy(base.manifest)
    entries = manifest["files"]
    how = pick(rng, ("without", "more", "renamed", "many", "order"))
    if how == "without":
        del entries[int(rng.integers(len(entries)))]
    elif how == "more":
        return base.signed({f"extra/{rng.integers(99)}": rng.bytes(10)})
    elif how == "renamed":
        pick(rng, entries)["name"] = pick(rng, NAMES)
    elif how == "many":
        entries += [entries[-1] | {"name": f"z/{i:04}"} for i in range(pick(rng, (9, 3000, 5000)))]
    else:
        rng.shuffle(entries)
    return Mutant(manifest=encode(manifest))


def manifest_values(base: Base, rng: Generator) -> Mutant:
    """The manifest is JSON, with a value that does not belong."""
    return Mutant(manifest=hostile_json(base.manifest, rng))


def json_values(base: Base, rng: Generator) -> Mutant:
    """Feature spec, policy or golden vectors are JSON, with a value that does not belong."""
    name = pick(rng, JSON_FILES)
    return base.signed({name: hostile_json(json.loads(base.files[name]), rng)})


def hostile_json(value: Any, rng: Generator) -> bytes:
    """Put a hostile value into parsed JSON, or spoil the text around it."""
    how = pick(rng, ("replace", "replace", "replace", "remove", "add", "repeat", "text"))
    value = copy.deepcopy(value)
    if how == "text":
        return hostile_text(encode(value), rng)
    place, key = pick(rng, list(places(value)))
    if how == "replace":
        place[key] = pick(rng, VALUES)
    elif how == "remove":
        del place[key]
    elif how == "repeat":
        found = encode({"x": pick(rng, VALUES)})[5:-1]
        return b'{"%s":%s,' % (pick(rng, value).encode(), found) + encode(value)[1:]
    elif isinstance(place, dict):
        place[f"x{key}"] = pick(rng, VALUES)
    else:
        place += place[key : key + 1] * pick(rng, (1, 2000))
    return encode(value)


def hostile_text(data: bytes, rng: Generator) -> bytes:
    """JSON of another encoding, of great depth, or none at all."""
    depth = pick(rng, (900, 100_000))
    objects = pick(rng, (100, 10_000, (MAX_JSON_BYTES >> 3) - 1))  # most memory a byte of JSON
    made: Callable[[], bytes] = pick(
        rng,
        (
            *(partial(data.decode().encode, name) for name in ("utf-16", "utf-32", "utf-8-sig")),
            *(lambda: b"", lambda: b"null", lambda: b"[]", lambda: b"{}", lambda: b'"\xff"'),
            *(lambda: bytes(100), lambda: data + b"{}", lambda: b"1" * 5000),
            lambda: b"[" * depth,
            lambda: b'{"a":' * depth + b"1" + b"}" * depth,
            lambda: b"[" + b'{"":[]},' * objects + b"0]",
        ),
    )
    return made()


def places(value: Any) -> Any:
    """All containers and keys in parsed JSON."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def array_header(base: Base, rng: Generator) -> Mutant:
    """Numbers in an array's header are hostile; some fit the payload all the same."""
    name = pick(rng, base.arrays)
    data = bytearray(base.files[name])
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            at, form = pick(
                rng, ((4, "H"), (8, "I"), (12, "I"), *((n, "Q") for n in range(16, 64, 8)))
            )
            limit = 1 << 8 * struct.calcsize(form)
            number = (pick(rng, HUGE) + int(rng.integers(-1, 2))) % limit
            struct.pack_into(f"<{form}", data, at, number)
    elif rng.random() < 0.5:  # nothing to store, in a shape beyond all memory
        data = data[:HEADER_BYTES]
        sizes = [pick(rng, HUGE) for _ in range(4)]
        sizes[int(rng.integers(4))] = 0
        struct.pack_into("<I", data, 8, 4)
        struct.pack_into("<5Q", data, 16, *sizes, 0)
    else:
        data[6:8] = pick(
            rng, (b"u1", b"i1", b"u2", b"i4", b"i8", b"f2", b"f4", b"O8", b"f8", b"\xff\xff")
        )
    return base.signed({name: bytes(data)})


def array_form(base: Base, rng: Generator) -> Mutant:
    """An array has another dtype or shape than it should, in a file that is sound."""
    name = pick(rng, base.arrays)
    array = base.arrays[name]
    how = pick(rng, ("dtype", "shape", "shorter", "longer", "deeper", "empty"))
    if how == "dtype":
        with np.errstate(invalid="ignore"):
            array = array.astype(pick(rng, ("u1", "i1", "u2", "<i4", "<i8", "<f2", "<f4")))
    elif how == "shape":
        array = array.reshape(pick(rng, ((-1,), (1, -1), (-1, 1), array.shape[::-1])))
    elif how == "deeper":
        array = array[None, None]
    elif how == "empty":
        array = array.reshape(-1)[:0].reshape(pick(rng, ((0,), (0, 7), (0, 1, 1, 1))))
    else:
        array = np.resize(
            array, (max(0, len(array) + (-1 if how == "shorter" else 1)), *array.shape[1:])
        )
    return base.signed({name: encode_array(array)})


def array_values(base: Base, rng: Generator) -> Mutant:
    """An array holds numbers that point nowhere, or are none."""
    name = pick(rng, base.arrays)
    array = base.arrays[name].copy()
    flat = array.reshape(-1)
    if array.dtype.kind == "f":
        extreme = [np.nan, np.inf, -np.inf, 3e38, -3e38, 9e14, -9e14, 1e-45, 0, -1]
    else:
        info = np.iinfo(array.dtype)
        extreme = [info.min, info.min + 1, -1, 0, 1, 3, 24, 25, info.max - 1, info.max]
        extreme = [number for number in extreme if info.min <= number <= info.max]
    for _ in range(pick(rng, (1, 1, 2, 4, len(flat)))):
        flat[int(rng.integers(len(flat)))] = pick(rng, extreme)
    return base.signed({name: encode_array(array)})


def wrapping_offsets(base: Base, rng: Generator) -> Mutant:
    """Offsets whose differences look right in 32 bits: 0, 2^31-1, -2^31, -1, ... the end."""
    name = pick(rng, ("index/offsets", "items/ids_offsets"))
    array = base.arrays[name].copy()
    if len(array) < 5:
        array = np.resize(array, 5)
    at = int(rng.integers(1, len(array) - 3))
    end = base.arrays[name][-1]
    array[at:] = -1
    array[at : at + 3] = (2**31 - 1, -(2**31), -1)
    array[-1] = end
    return base.signed({name: encode_array(array)})


def other_sizes(base: Base, rng: Generator) -> Mutant:
    """A release whose parts agree: fewer items or none, no cells, the spec at its bounds."""
    spec = json.loads(base.files["feature_spec.json"])
    for key in ("dim", "max_history", "max_categories", "candidates", "recent", "neighbours"):
        if rng.random() < 0.4:
            spec[key] = pick(rng, (1, 2, 255, 256, 1024, 4096, 8192, 65_536))
    for key in ("neighbour_candidates", "own_candidates"):
        if rng.random() < 0.4:
            spec[key] = pick(rng, (0, 1, 4096, 65_536))
    n = pick(rng, (0, 0, 1, 2, 24))
    arrays = {name: np.resize(array, (n, *array.shape[1:])) for name, array in base.arrays.items()}
    cells = pick(rng, (0, 1, 3, 200)) if n == 0 else pick(rng, (1, 3, 200))
    arrays |= {
        "index/centroids": np.ones((cells, spec["dim"]), np.float32),
        "index/offsets": np.array([0] * cells + [n], np.int32),
        "index/rows": np.resize(arrays["index/rows"], (n, spec["dim"])),
        "items/categories": np.ones((n, spec["max_categories"]), np.uint16),
        "items/ids_offsets": base.arrays["items/ids_offsets"][: n + 1],
        "items/ids_order": np.arange(n, dtype=np.int32),
        "items/popular": np.arange(n, dtype=np.int32),
        "items/neighbours": np.zeros((n, spec["neighbours"]), np.int32),
        "items/neighbour_weights": np.ones((n, spec["neighbours"]), np.int8),
    }
    arrays["items/ids_bytes"] = base.arrays["items/ids_bytes"][: arrays["items/ids_offsets"][-1]]
    files = {name: encode_array(array) for name, array in arrays.items()}
    return base.signed({**files, "feature_spec.json": encode(spec)})


def ids(base: Base, rng: Generator) -> Mutant:
    """Item ids that are not UTF-8, are cut inside a letter, are equal, or are in no order."""
    how = pick(rng, ("bytes", "cut", "equal", "order"))
    if how == "bytes":
        data = base.arrays["items/ids_bytes"].copy()
        data[int(rng.integers(len(data)))] = pick(rng, (0, 0x80, 0xC0, 0xED, 0xF8, 0xFF))
        return base.signed({"items/ids_bytes": encode_array(data)})
    if how == "cut":
        offsets = base.arrays["items/ids_offsets"].copy()
        offsets[int(rng.integers(1, len(offsets) - 1))] += pick(rng, (-1, 1))
        return base.signed({"items/ids_offsets": encode_array(offsets)})
    if how == "equal":
        data = np.full_like(base.arrays["items/ids_bytes"], ord("a"))
        return base.signed({"items/ids_bytes": encode_array(data)})
    order = rng.integers(
        0, len(base.arrays["items/ids_order"]), base.arrays["items/ids_order"].shape
    )
    return base.signed({"items/ids_order": encode_array(order.astype(np.int32))})


def catalogue_pages(base: Base, rng: Generator) -> Mutant:
    """The catalogue's pages are corrupt: header, b-tree, cells."""
    data = bytearray(base.files["catalogue.sqlite"])
    for _ in range(int(rng.integers(1, 12))):
        page = int(rng.integers(max(1, len(data) // 4096))) * 4096
        at = page + int(pick(rng, (rng.integers(112), rng.integers(16), rng.integers(4096))))
        data[at] = pick(rng, (0, 1, 127, 128, 255, int(rng.integers(256))))
    return base.signed({"catalogue.sqlite": bytes(data)})


def catalogue_schema(base: Base, rng: Generator) -> Mutant:
    """The catalogue is sound SQLite that runs or holds what no catalogue should."""
    return base.signed({"catalogue.sqlite": pick(rng, hostile_catalogues().values())})


MUTATORS: dict[str, Mutator] = {
    function.__name__: function
    for function in (
        *(disk_damage, disk_swap, manifest_damage, odd_file, signed_damage, names_swapped),
        *(files_listed, manifest_values, json_values, array_header, array_form, array_values),
        *(wrapping_offsets, other_sizes, ids, catalogue_pages, catalogue_schema),
    )
}
