"""JSON with a value, a shape or an encoding that does not belong."""

import copy
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.random import Generator

from pocketrec_bundle.encoding.strict_json import MAX_JSON_BYTES
from pocketrec_export.conformance.sound import Base, Mutant, encode, pick

JSON_FILES = (
    *("campaigns.json", "feature_spec.json", "features.json", "golden.json"),
    *(
        "golden_edges.json",
        "golden_features.json",
        "golden_rules.json",
        "policy.json",
        "regions.json",
        "rules.json",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 0.5, -0.0, 1.0, 1e308, 1e-320),
    *(2**31, 2**63, 2**64, 10**400, -(10**400), math.nan, math.inf, -math.inf),
    *("", "x", "\ud800", "\x00", "\x1b[2J", "../x", "a" * 70_000, "1"),
    *([], {}, [[]], [None], [0] * 3000, {"a": {"a": []}}, ["x"] * 3000),
)


def manifest_values(base: Base, rng: Generator) -> Mutant:
    """The manifest is JSON, with a value that does not belong."""
    return Mutant(manifest=hostile_json(base.manifest, rng))


def json_values(base: Base, rng: Generator) -> Mutant:
    """One of a release's JSON files, with a value that does not belong."""
    name = pick(rng, [name for name in JSON_FILES if name in base.files])
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
