"""Item files that do not fit each other: columns, ids and cells, in both format versions."""

import json

import numpy as np
from numpy.random import Generator

from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.items.cohorts import CODES_FILE, ROWS_FILE
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.versions import item_files
from pocketrec_export.conformance.sound import Base, Mutant, encode, pick

ODD_BYTES = (0, 0x80, 0xC0, 0xED, 0xF8, 0xFF)
COLUMNS = (
    *("index/scales", "items/categories", "items/id_shapes", "items/numeric.0"),
    "items/regions",
)


def other_sizes(base: Base, rng: Generator) -> Mutant:
    """A release whose parts agree: fewer items or none, no cells, the spec at its bounds."""
    spec = json.loads(base.files["feature_spec.json"])
    for key in ("dim", "max_history", "max_categories", "candidates", "recent", "neighbours"):
        if rng.random() < 0.4:
            spec[key] = pick(rng, (1, 2, 255, 256, 1024, 4096, 8192, 65_536))
    for key in ("neighbour_candidates", "own_candidates"):
        if rng.random() < 0.4:
            spec[key] = pick(rng, (0, 1, 4096, 65_536))
    n = pick(rng, (0, 0, 1, 2, 48, 300))
    cells = pick(rng, (0, 1, 3, 200)) if n == 0 else pick(rng, (1, 3, 200, 300))
    offsets = np.array([0] * cells + [n], np.int32)
    items = ItemArrays(
        ids=[f"{row:03}" for row in range(n)],
        by_id=np.arange(n),
        offsets=offsets,
        scales=np.full(n, 0.5, np.float32),
        categories=np.ones((n, spec["max_categories"]), np.uint16),
        numeric=np.ones((n, len(spec["numeric"])), np.float32),
        available=np.ones(n, np.bool_),
    )
    arrays = {
        "index/centroids": np.ones((cells, spec["dim"]), np.float32),
        "index/offsets": offsets,
        "index/rows": np.resize(base.arrays["index/rows"], (n, spec["dim"])),
        "items/popular": np.arange(n, dtype=np.int32),
        CODES_FILE: np.ones(pick(rng, (0, 1, 256, 257)), np.uint16),
        "items/neighbours": np.zeros((n, spec["neighbours"]), np.int32),
        "items/neighbour_weights": np.ones((n, spec["neighbours"]), np.int8),
        "items/neighbour_scales": np.ones(n, np.float32),
        **item_files(base.version, items),
    }
    lists = len(arrays[CODES_FILE]), pick(rng, (0, 1, 50, 51))
    arrays[ROWS_FILE] = np.full(lists, pick(rng, (-2, -1, 0, n - 1, n)), np.int32)
    if base.version > 1:
        arrays |= {
            "items/age_rating.values": np.zeros(1, np.uint8),
            "items/regions.values": np.full((1, 5), 2, np.uint8),
        }
    files = {name: encode_array(array) for name, array in arrays.items()}
    gone = base.arrays.keys() - arrays.keys()
    return base.signed({**files, "feature_spec.json": encode(spec)}, gone)


def ids(base: Base, rng: Generator) -> Mutant:
    """Item ids that are not UTF-8, are cut inside a letter, are equal, or are in no order."""
    return (_ids_of_version_1 if base.version == 1 else _ids_of_version_2)(base, rng)


def _ids_of_version_1(base: Base, rng: Generator) -> Mutant:
    how = pick(rng, ("bytes", "cut", "equal", "order"))
    if how == "bytes":
        data = base.arrays["items/ids_bytes"].copy()
        data[int(rng.integers(len(data)))] = pick(rng, ODD_BYTES)
        return base.signed({"items/ids_bytes": encode_array(data)})
    if how == "cut":
        offsets = base.arrays["items/ids_offsets"].copy()
        offsets[int(rng.integers(1, len(offsets) - 1))] += pick(rng, (-1, 1))
        return base.signed({"items/ids_offsets": encode_array(offsets)})
    if how == "equal":
        data = np.full_like(base.arrays["items/ids_bytes"], ord("a"))
        return base.signed({"items/ids_bytes": encode_array(data)})
    order = base.arrays["items/ids_order"]
    order = rng.integers(0, len(order), order.shape)
    return base.signed({"items/ids_order": encode_array(order.astype(np.int32))})


def _ids_of_version_2(base: Base, rng: Generator) -> Mutant:
    data = base.arrays["items/id_bytes"].copy()
    codes = base.arrays["items/id_shapes.codes"].copy()
    shapes = base.arrays["items/id_shapes.values"].copy()
    how = pick(rng, ("bytes", "equal", "shared", "added", "moved", "order", "one block"))
    if how == "bytes":
        data[int(rng.integers(len(data)))] = pick(rng, ODD_BYTES)
    elif how == "equal":
        data[:] = ord("a")
    elif how == "shared":
        shapes[int(rng.integers(len(shapes))), 0] = pick(rng, (0, 1, 3, 7, 255, 256, 65_535))
    elif how == "added":
        shapes[int(rng.integers(len(shapes))), 1] = pick(rng, (0, 1, 255, 65_535))
    elif how == "moved":  # the sum stays, each id begins elsewhere
        one, two = rng.integers(len(codes), size=2)
        codes[[one, two]] = codes[[two, one]]
    elif how == "order":
        rng.shuffle(codes)
    else:
        shapes[:, 0] = np.maximum(shapes[:, 0], 1)
    changed = {"bytes": data, "shapes.codes": codes, "shapes.values": shapes}
    return base.signed({f"items/id_{name}": encode_array(one) for name, one in changed.items()})


def cells(base: Base, rng: Generator) -> Mutant:
    """The map from ids to rows is wrong: rows repeat, lie outside or are exchanged."""
    name = "items/ids_order" if base.version == 1 else "items/id_cells"
    found = base.arrays[name].copy()
    one, two = rng.integers(len(found), size=2)
    how = pick(rng, ("swap", "repeat", "outside", "shuffle", "wide", "narrow"))
    if how == "swap":
        found[[one, two]] = found[[two, one]]
    elif how == "repeat":
        found[one] = found[two]
    elif how == "outside":
        found[one] = pick(rng, (4, 48, 127))
    elif how == "shuffle":
        rng.shuffle(found)
    else:
        found = found.astype("<i4" if how == "wide" else "i1")
        found[one] = pick(rng, (-1, -128, 100))
    return base.signed({name: encode_array(found)})


def columns(base: Base, rng: Generator) -> Mutant:
    """A column's codes and values are not of one kind; to version 1 they are unknown files."""
    name = pick(rng, COLUMNS)
    codes, values = f"{name}.codes", f"{name}.values"
    if base.version == 1:
        return base.signed({codes: encode_array(np.full(48, 255, np.uint8))})
    sound = base.arrays[codes].copy(), base.arrays[values].copy()
    how = pick(rng, ("code", "signed", "few", "none", "many", "no codes", "no values", "plain"))
    if how == "code":
        sound[0][int(rng.integers(48))] = pick(rng, (len(sound[1]), 255))
    elif how == "signed":
        wide = sound[0].astype(np.int32)
        wide[int(rng.integers(48))] = pick(rng, (-1, -(2**31), 2**31 - 1))
        sound = wide, sound[1]
    elif how in ("few", "none", "many"):
        n = {"few": len(sound[1]) - 1, "none": 0, "many": 70_000}[how]
        sound = sound[0], np.resize(sound[1], (n, *sound[1].shape[1:]))
    elif how.startswith("no "):
        return base.signed({}, [codes if how == "no codes" else values])
    else:
        return base.signed({values: encode_array(sound[1][sound[0]])}, [codes])
    return base.signed({codes: encode_array(sound[0]), values: encode_array(sound[1])})
