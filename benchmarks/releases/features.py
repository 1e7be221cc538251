"""Claim: 30 declared features of a million items cost little space and time, and devices agree.

Data: drawn items, cells and features: 10 categories, 4 lists of names, 9 numbers, 5 flags and 2
vectors; the ranker reads 22 of them. Peer: the same items with two numbers, which bundle format 2
holds, in the same process. Both releases have an untrained user tower and ranker of the usual size,
converted as an export does.

- `bytes_over_packed`: bytes of all files of the features, to their values packed bit by bit: for a
  code the bits of the codes that there are, for a number those of its distinct values (32 at most),
  for a vector 8 bits a number and one scale of 8 bits.
- `slate_ratio`: median time of a slate, to that of the peer; slates take turns.
- `unequal_rows`: rows whose inputs on the device differ from those that training computes from the
  values of the tables; `compared_rows` are looked at.

Repetitions: `SLATES` slates of each release.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Cell, Options, Result
from pocketrec_bundle.declared import Feature, FittedFeature, FittedFeatures
from pocketrec_bundle.declared.encoded import EncodedFeatures
from pocketrec_bundle.declared.fitted import FILE as FEATURES_FILE
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.bit_records import bits_for
from pocketrec_bundle.features import NUMERIC, FeatureSpec, History
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_export.items.content import add_items
from pocketrec_export.items.index_builder import sort_into_cells
from pocketrec_export.models.convert import convert, ranker_signature, tower_signature
from pocketrec_training.data.dataset import Items
from pocketrec_training.data.features.released import encoded_items, item_features
from pocketrec_training.data.fields.values import Values
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.ranker.model import build_ranker
from pocketrec_training.recipe.schema import RankerConfig, RetrievalConfig
from pocketrec_training.towers.user_tower import build_user_tower

MILLION = 1_000_000
COMPARED = 10_000
SLATES = 200
DIM, PROBES = 32, 32
NOW_UTC = 1_700_000_000
ENGINE, VARIANT = "onnx", "dynamic"
VOCABULARIES = (5, 12, 40, 150, 300, 800, 2000, 5000)
"""Names of the categories that the ranker reads."""
LISTS = (20, 100, 400)
BUILT_IN = FittedFeatures()

SPEC = FeatureSpec(
    dim=DIM,
    max_history=50,
    event_types=("view", "like"),
    categories=tuple(f"c{n}" for n in range(20)),
    max_categories=2,
    heads=("engage", "like"),
    head_weights=(1.0, 0.5),
    candidates=RankerConfig().candidates,
)
POLICY = Policy(
    slate=20,
    category_cap=4,
    near_duplicate_cosine=0.98,
    probes=PROBES,
    candidates=SPEC.candidates,
)


def run(options: Options, items: int = MILLION, slates: int = SLATES) -> Result:
    """Write both releases, compare inputs and take turns at slates; prints the table."""
    options.work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    declared, values = drawn_features(rng, items)
    catalogue = drawn_items(rng, items, values)
    typed = declared.for_ranker(())
    encoded = encoded_items(typed, catalogue)
    two = replace(SPEC, numeric=(*NUMERIC, "stock", "views"))
    releases = {
        "two features": release(options.work / "two", two, catalogue, BUILT_IN, {}),
        "30 features": release(options.work / "typed", SPEC, catalogue, typed, encoded),
    }
    stored, packed = stored_bytes(releases["30 features"]), packed_bytes(typed, encoded)
    compared = min(COMPARED, items)
    unequal = unequal_rows(releases["30 features"], declared, catalogue, compared, rng)
    times = slate_times(releases, slates, rng)
    rows: list[dict[str, Cell]] = [
        {
            "release": name,
            "format": bundle.manifest.format_version,
            "read_by_ranker": len(bundle.features.items) or 2,
            "feature_bytes": stored_bytes(bundle),
            "slate_ms": float(np.median(times[name])),
        }
        for name, bundle in releases.items()
    ]
    show(rows)
    medians = {name: float(np.median(found)) for name, found in times.items()}
    figures = {
        "items": items,
        "declared": len(declared.items),
        "read_by_ranker": len(typed.items),
        "bytes_over_packed": stored / packed,
        "slate_ratio": medians["30 features"] / medians["two features"],
        "compared_rows": compared,
        "unequal_rows": unequal,
    }
    return Result(name="features", seed=options.seed, rows=rows, figures=figures)


def drawn_features(rng: np.random.Generator, n: int) -> tuple[FittedFeatures, dict[str, Values]]:
    """Draw 30 features and their values for n items; names follow Zipf's law, some are unknown."""
    found: list[FittedFeature] = []
    values: dict[str, Values] = {}

    def add(name: str, feature: Feature, drawn: Values, names: tuple[str, ...] = ()) -> None:
        edges = (-3.0, -1.0, 0.0, 1.0, 3.0) if feature.kind == "number" else ()
        found.append(FittedFeature(name=name, feature=feature, names=names, edges=edges))
        values[name] = drawn

    def words(size: int) -> NDArray[Any]:
        return np.array(["", *(f"name {place}" for place in range(size + size // 8))], object)

    for place, size in enumerate((*VOCABULARIES, 60, 70)):
        texts = words(size)
        at = rng.zipf(1.3, n) % len(texts)
        read = place < len(VOCABULARIES)
        feature = Feature(kind="category", vocabulary=size, hash_buckets=4, ranker=read)
        add(f"category_{place}", feature, texts[at], tuple(texts[1 : size + 1]))
    for place, size in enumerate((*LISTS, 50)):
        texts = words(size)
        combined = np.array(
            ["|".join(rng.choice(texts[1:], rng.integers(0, 4))) for _ in range(30 * size)], object
        )
        feature = Feature(kind="categories", vocabulary=size, most=3, ranker=place < len(LISTS))
        drawn = combined[rng.zipf(1.2, n) % len(combined)]
        add(f"list_{place}", feature, drawn, tuple(texts[1 : size + 1]))
    for place in range(9):
        numbers = rng.normal(size=n).astype(np.float32)
        if place < 7:  # few distinct values, as of stocks, scores and sizes
            numbers = np.round(numbers * 10.0 ** (place % 3 + 1)).astype(np.float32)
        numbers[rng.random(n) < 0.05 * (place % 2)] = np.nan
        add(f"number_{place}", Feature(kind="number", ranker=place < 7), numbers)
    for place in range(5):
        flags = (rng.random(n) < 0.3).astype(np.float32)
        flags[rng.random(n) < 0.1 * (place % 2)] = np.nan
        add(f"flag_{place}", Feature(kind="flag", ranker=place < 3), flags)
    for place in range(2):
        vectors = rng.standard_normal((n, 16), np.float32)
        add(f"vector_{place}", Feature(kind="vector", length=16, ranker=place < 1), vectors)
    return FittedFeatures(items=tuple(found)), values


def drawn_items(rng: np.random.Generator, n: int, values: dict[str, Values]) -> Items:
    """Draw n items with features, and the two numbers of the peer."""
    names = np.array([(one,) for one in SPEC.categories] + [()], object)
    peers = {
        name: np.round(rng.lognormal(3.0, 1.0, n)).astype(np.float32) for name in ("stock", "views")
    }
    return Items(
        ids=[f"item-{row:08d}" for row in range(n)],
        titles=["a title of some words"] * n,
        categories=names[rng.integers(0, len(names), n)].tolist(),
        price=np.round(rng.lognormal(3.0, 1.0, n), 2).astype(np.float32),
        year=rng.integers(1990, 2026, n).astype(np.float32),
        features=values | peers,
    )


def release(
    out: Path, spec: FeatureSpec, items: Items, typed: FittedFeatures, encoded: EncodedFeatures
) -> Bundle:
    """Write a release with untrained models, and open it."""
    n, rng = len(items), np.random.default_rng(5)
    cells = max(PROBES, round(n**0.5))
    rows = np.clip(np.round(rng.standard_normal((n, DIM), np.float32) * 40), -127, 127)
    index = sort_into_cells(
        rows.astype(np.int8),
        np.full(n, 0.01, np.float32),
        items.ids,
        rng.integers(0, cells, n),
        rng.standard_normal((cells, DIM), np.float32),
    )
    popularity = rng.integers(0, 99, (n, 1)).astype(np.float32)
    version = 3 if typed.items else 2
    with BundleWriter(out, force=True, format_version=version) as writer:
        everything = np.ones(n, np.bool_)
        add_items(
            writer, spec, items, index, popularity, everything, None, typed=typed, encoded=encoded
        )
        writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        ranker = build_ranker(RankerConfig(), spec, typed)
        for variable in ranker.trainable_variables:  # an untrained one has no products
            variable.assign(0.1 * rng.normal(size=variable.shape))
        tower = build_user_tower(RetrievalConfig(dim=DIM), spec)
        parts = {
            "user_tower": (tower, tower_signature(spec)),
            "ranker": (ranker, ranker_signature(spec, typed)),
        }
        for model, (layers, signature) in parts.items():
            for made in convert(layers, signature, (VARIANT,)):
                if made.engine == ENGINE:
                    facts = {"model": model, "engine": ENGINE, "variant": VARIANT}
                    name = f"models/{model}.{ENGINE}.{VARIANT}"
                    writer.add(name, made.data, "model", **facts, default=1)
        writer.finish(name=out.name, recipe_name="features", created_utc=NOW_UTC)
    return open_bundle(out)


def stored_bytes(bundle: Bundle) -> int:
    """Return the bytes of all files of declared features; of the peer those of its two columns."""
    if not bundle.features.items:
        peers = [f"items/numeric.{bundle.spec.numeric.index(n)}." for n in ("stock", "views")]
        return sum(e.bytes for e in bundle.manifest.files if e.name.startswith(tuple(peers)))
    mine = ("items/feature.", "items/features", FEATURES_FILE)
    return sum(e.bytes for e in bundle.manifest.files if e.name.startswith(mine))


def packed_bytes(typed: FittedFeatures, encoded: EncodedFeatures) -> float:
    """Return the bytes of all values packed bit by bit, without any table."""
    bits = 0
    for one in typed.items:
        values, kind = encoded[one.name].values, one.feature.kind
        if kind == "vector":
            bits += len(values) * 8 * (one.feature.length + 1)
        elif kind in ("number", "flag"):
            bits += len(values) * min(32, bits_for(len(np.unique(values))))
        else:
            bits += values.size * bits_for(len(np.unique(values)))
    return bits / 8


def unequal_rows(
    bundle: Bundle, declared: FittedFeatures, items: Items, n: int, rng: np.random.Generator
) -> int:
    """Compare the device's inputs with those of training for n drawn items; return how many differ.

    Training computes them from the values of these items alone, so tables and fields differ.
    """
    drawn = rng.permutation(len(items))[:n]
    offline = item_features(declared, bundle.spec, items.pick(drawn))
    assert offline is not None and bundle.item_features is not None
    rows = np.array([bundle.row_of(items.ids[at]) for at in drawn.tolist()])
    expected = offline.inputs(np.arange(n))
    found = bundle.item_features.inputs(rows)
    apart = np.zeros(n, np.bool_)
    for name, values in expected.items():
        apart |= (values != found[name]).any(axis=1)
    return int(apart.sum())


def slate_times(
    releases: dict[str, Bundle], slates: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Return the milliseconds of slates; releases take turns, the first ones do not count."""
    devices = {name: Recommender(bundle, ENGINE) for name, bundle in releases.items()}
    found: dict[str, list[float]] = {name: [] for name in devices}
    warm = 5
    n = next(iter(releases.values())).item_count
    with Progress("slates", slates) as bar:
        for turn in range(warm + slates):
            rows = rng.integers(0, n, 30).astype(np.int32)
            ts = NOW_UTC - np.sort(rng.integers(0, 10**6, 30))[::-1].astype(np.int64)
            query = Query(History(rows, np.zeros(30, np.int32), ts), NOW_UTC)
            for name, device in devices.items():
                started = time.perf_counter()
                slate = device.recommend(query)
                if turn >= warm:
                    found[name].append(1000 * (time.perf_counter() - started))
                assert slate.source == "model", slate.faults
            bar.advance(max(0, turn - warm + 1))
    return found


def show(rows: list[dict[str, Cell]]) -> None:
    """Print the table."""
    table = Table(title="features: two against 30 declared features", title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        told = (f"{v:.2f}" if isinstance(v, float) else f"{v}" for v in row.values())
        table.add_row(*told)
    Console(file=sys.stdout, width=120).print(table)
