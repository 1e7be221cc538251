"""Faults of declared features: `features.json` and their files."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from pocketrec_bundle.declared.feature import MAX_FEATURES
from pocketrec_bundle.declared.fitted import FILE
from pocketrec_bundle.declared.item_features import RECORDS, file_of
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.encoding.bit_records import MAX_BITS
from pocketrec_bundle.golden.features import FILE as GOLDEN_FILE
from pocketrec_export.conformance.defects.defect import (
    SELF_TEST,
    Defect,
    dropping,
    edited,
    parsed,
    setting,
    without,
)
from pocketrec_export.conformance.sound import Base, Mutant, encode

BRAND, IMAGE, MARGIN, NEW, TAGS, WEIGHT = range(6)


def _also_numeric(base: Base) -> Mutant:
    """Give the feature "margin" a numeric column too."""
    spec = json.loads(base.files["feature_spec.json"])
    name = f"items/numeric.{len(spec['numeric'])}.values"
    spec["numeric"].append("margin")
    column = encode_array(np.zeros(1, np.float32))
    return base.signed({"feature_spec.json": encode(spec), name: column})


def _json(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return Defect(
        name=f"features-{name}", code=code, fault=fault, make=parsed(FILE, change), version=3
    )


def _array(name: str, code: str, fault: str, file: str, edit: Callable[[Any], Any]) -> Defect:
    return Defect(
        name=f"features-{name}", code=code, fault=fault, make=edited(file, edit), version=3
    )


def _golden(name: str, code: str, fault: str, change: Callable[[Any], Any]) -> Defect:
    return Defect(
        name=f"golden-features-{name}",
        code=code,
        fault=f"{GOLDEN_FILE}: {fault}",
        make=parsed(GOLDEN_FILE, change),
        step=SELF_TEST,
        version=3,
        golden=True,
    )


DEFECTS = (
    _golden("too-new", "too_new", "version 2", setting("version", to=2)),
    _golden("key-missing", "golden_keys", "no key names", dropping("names")),
    _golden("text", "golden_value", "a code is a text", setting("items", 0, "item_codes", to="1")),
    _golden("code", "golden_value", "a code below 0", setting("names", 0, "code", to=-1)),
    _golden("item", "golden_release", "an unknown item", setting("items", 0, "item_id", to="?")),
    _golden(
        "short", "golden_release", "a number is missing", dropping("items", 0, "item_numbers", 0)
    ),
    _golden(
        "feature", "golden_release", "a name of a number", setting("names", 0, "feature", to=2)
    ),
    _json("too-new", "too_new", "version 2", setting("version", to=2)),
    _json("version-0", "features_value", "version 0", setting("version", to=0)),
    _json("list", "features_keys", "it is a list", lambda _: []),
    _json("key-missing", "features_keys", "it has no request", dropping("request")),
    _json("key-unknown", "features_keys", "it has more keys", setting("more", to=1)),
    _json("profile", "too_new", "a feature of users", setting("profile", to=[{"name": "plan"}])),
    _json("request", "too_new", "a feature of requests", setting("request", to=[{}])),
    _json(
        "many",
        "features_value",
        f"{MAX_FEATURES + 1} features",
        lambda v: v | {"items": v["items"][:1] * (MAX_FEATURES + 1)},
    ),
    _json(
        "kind-unknown",
        "too_new",
        "a feature of the kind sound",
        setting("items", MARGIN, "kind", to="sound"),
    ),
    _json("kind-number", "features_value", "a kind that is 3", setting("items", 0, "kind", to=3)),
    _json("item-list", "features_keys", "a feature is a list", setting("items", 0, to=[])),
    _json(
        "item-key-missing", "features_keys", "a feature has no most", dropping("items", 0, "most")
    ),
    _json("twice", "features_value", "two brands", setting("items", IMAGE, "name", to="brand")),
    _json(
        "name-form",
        "features_value",
        "a feature is named Brand",
        setting("items", BRAND, "name", to="Brand"),
    ),
    _json(
        "built-in",
        "features_value",
        "a feature has the name of a built-in column",
        setting("items", MARGIN, "name", to="price"),
    ),
    Defect(
        name="features-numeric",
        code="features_value",
        fault="a feature is a numeric column too",
        make=_also_numeric,
        version=3,
    ),
    _json(
        "unread",
        "features_value",
        "a feature that no model reads",
        setting("items", MARGIN, "ranker", to=False),
    ),
    _json(
        "vocabulary",
        "features_value",
        "more names than the vocabulary",
        setting("items", BRAND, "vocabulary", to=2),
    ),
    _json(
        "name-twice",
        "features_value",
        "a name twice in a vocabulary",
        setting("items", BRAND, "names", to=["acme", "acme"]),
    ),
    _json(
        "name-long",
        "features_value",
        "a name of 257 characters",
        setting("items", BRAND, "names", to=["x" * 257]),
    ),
    _json(
        "hash-buckets",
        "features_value",
        "65,535 codes",
        setting("items", BRAND, "hash_buckets", to=65_532),
    ),
    _json(
        "edges",
        "features_value",
        "edges that fall",
        setting("items", MARGIN, "edges", to=[2.0, 1.0]),
    ),
    _json("clip", "features_value", "a clip of one number", setting("items", 2, "clip", to=[1])),
    _json("flag", "features_value", "log is 1, no boolean", setting("items", 2, "log", to=1)),
    _json("most", "features_value", "most is 0", setting("items", TAGS, "most", to=0)),
    _json("length", "features_value", "length is 1.5", setting("items", 1, "length", to=1.5)),
    _json("record-short", "features_value", "a field's size is missing", dropping("record", 0)),
    _json(
        "record-bits",
        "features_value",
        f"a field of {MAX_BITS + 1} bits",
        setting("record", 0, to=MAX_BITS + 1),
    ),
    _json("record-text", "features_value", "record is a text", setting("record", to="3")),
    _json(
        "record-vector", "features_value", "a vector has a field", setting("record", IMAGE, to=2)
    ),
    _json(
        "record-wider",
        "array_form",
        "records are longer than their fields",
        setting("record", BRAND, to=20),
    ),
    Defect(
        name="features-records-missing",
        code="file_unlisted",
        fault="there are fields, and no records",
        make=without(RECORDS),
        version=3,
    ),
    Defect(
        name="features-table-missing",
        code="file_unlisted",
        fault="numbers have no table",
        make=without(file_of(MARGIN, "values")),
        version=3,
    ),
    _array("records-few", "array_form", "47 records", RECORDS, lambda a: a[:-1]),
    _array("records-narrow", "array_form", "short records", RECORDS, lambda a: a[:, :-1]),
    _array("records-signed", "array_form", "i1 records", RECORDS, lambda a: a.astype(np.int8)),
    _array(
        "code-beyond",
        "out_of_range",
        "a code beyond the names and hash buckets",
        RECORDS,
        lambda a: a.__setitem__((5, 0), a[5, 0] | 7),
    ),
    _array(
        "place-beyond",
        "out_of_range",
        "a place beyond its table",
        file_of(NEW, "values"),
        lambda a: a[:-1],
    ),
    _array(
        "table-code-beyond",
        "out_of_range",
        "a code in a table is beyond the names",
        file_of(TAGS, "values"),
        lambda a: a.__setitem__((1, 0), 901),
    ),
    _array(
        "table-narrow",
        "array_form",
        "a table of lists has a column less",
        file_of(TAGS, "values"),
        lambda a: a[:, :-1],
    ),
    _array(
        "number-nan",
        "not_finite",
        "a number is NaN",
        file_of(WEIGHT, "values"),
        lambda a: a.__setitem__(3, np.nan),
    ),
    _array(
        "number-large",
        "not_finite",
        "a number of 1e16",
        file_of(MARGIN, "values"),
        lambda a: a.__setitem__(0, 1e16),
    ),
    _array(
        "numbers-few",
        "array_form",
        "numbers of 47 rows",
        file_of(WEIGHT, "values"),
        lambda a: a[:-1],
    ),
    _array(
        "known-few",
        "array_form",
        "too few bits for known numbers",
        file_of(WEIGHT, "known"),
        lambda a: a[:-1],
    ),
    _array("vectors-few", "array_form", "47 vectors", file_of(IMAGE, "rows"), lambda a: a[:-1]),
    _array(
        "vectors-short",
        "array_form",
        "vectors of another length",
        file_of(IMAGE, "rows"),
        lambda a: a[:, :-1],
    ),
    _array(
        "scale-inf",
        "not_finite",
        "a vector's scale is infinite",
        file_of(IMAGE, "scales.values"),
        lambda a: a.__setitem__(0, np.inf),
    ),
)
