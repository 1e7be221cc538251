"""A release of N drawn items, without training: what a sync moves or a phone searches, at any size.

Rows, prices, titles and ids come from one seed; a later release is the same with some rows and
prices drawn again, in the same order and cells, as a catalogue release keeps them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.items.audience import NAMES_FILE, Audience, OpenAudience, audience_files
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.manifest import USUAL_VERSION, Manifest
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.conformance.tiny_bundle import CREATED_UTC, POLICY, SPEC, add_tiny_models

WORDS = ("red", "small", "wool", "steel", "lamp", "chair", "mug", "tent", "shirt", "clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Items in row order: int8 [N, d] rows, float32 [N] prices."""

    rows: NDArray[np.int8]
    prices: NDArray[np.float32]

    @classmethod
    def of(cls, n: int, dim: int, seed: int) -> "Drawn":
        """Draw n items; like those of real towers, rows are Gaussian."""
        rng = np.random.default_rng(seed)
        return cls(rows=_rows(rng, n, dim), prices=_prices(rng, n))

    def with_rows(self, share: float, seed: int) -> "Drawn":
        """Draw a share of the rows again."""
        rng = np.random.default_rng(seed)
        at = rng.permutation(len(self.rows))[: round(share * len(self.rows))]
        rows = self.rows.copy()
        rows[at] = _rows(rng, len(at), rows.shape[1])
        return replace(self, rows=rows)

    def with_prices(self, share: float, seed: int) -> "Drawn":
        """Draw a share of the prices again."""
        rng = np.random.default_rng(seed)
        at = rng.permutation(len(self.rows))[: round(share * len(self.rows))]
        prices = self.prices.copy()
        prices[at] = _prices(rng, len(at))
        return replace(self, prices=prices)


def write_drawn_release(
    out: Path,
    items: Drawn,
    name: str,
    base: Bundle | None = None,
    *,
    spec: FeatureSpec = SPEC,
    policy: Policy = POLICY,
    answers: bool = False,
) -> Manifest:
    """Write the release to `out`, replacing its content; equal items give equal bytes.

    Args:
        out: the bundle folder.
        items: of the release.
        name: of the release.
        base: the release that it follows, whose codes keep their meaning.
        spec: its features; `dim` is that of the items.
        policy: of re-ranking and search.
        answers: add the models of `tiny_models.py`.
    """
    n, dim = items.rows.shape
    spec = replace(spec, dim=dim)
    rng = np.random.default_rng(n)
    cells, near = max(1, round(n**0.5)), (n, spec.neighbours)
    offsets = np.linspace(0, n, cells + 1).astype(np.int32)
    ids = [f"item-{row:08d}" for row in range(n)]
    titles = np.array(WORDS)[rng.integers(len(WORDS), size=(n, 3))].tolist()
    numeric: NDArray[np.float64] = np.column_stack(
        [np.log1p(items.prices), rng.integers(0, 9, (n, 2))]
    )
    columns = ItemArrays(
        ids=ids,
        by_id=np.arange(n),
        offsets=offsets,
        scales=np.full(n, 0.01, np.float32),
        categories=rng.integers(0, 4, (n, 2)).astype(np.uint16),
        numeric=numeric.astype(np.float32),
        available=np.ones(n, np.bool_),
    )
    arrays: dict[str, NDArray[Any]] = {
        "index/centroids": rng.normal(size=(cells, dim)).astype(np.float32),
        "index/offsets": offsets,
        "index/rows": items.rows,
        "items/popular": np.arange(min(n, 100), dtype=np.int32),
        "items/neighbours": rng.integers(0, n, near).astype(np.int32),
        "items/neighbour_weights": rng.integers(-127, 128, near).astype(np.int8),
        "items/neighbour_scales": rng.uniform(0.001, 0.01, (n,)).astype(np.float32),
        **item_files(USUAL_VERSION, columns, base),
    }
    region_names, audience = audience_files(
        Audience(regions=[()] * n, age_ratings=np.zeros(n, np.uint8)), OpenAudience(), None
    )
    with BundleWriter(out, force=True) as writer:
        if region_names is not None:
            writer.add(NAMES_FILE, region_names, "json")
        for each, array in (arrays | audience).items():
            writer.add(each, encode_array(array), "array")
        database = writer.blob_dir.parent / "catalogue.sqlite"
        write_catalogue(
            database,
            (
                CatalogueItem(row, ids[row], " ".join(titles[row]), "drama", float(price), 2000)
                for row, price in enumerate(items.prices)
            ),
        )
        writer.add("catalogue.sqlite", database.read_bytes(), "catalogue")
        database.unlink()
        writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
        writer.add("policy.json", canonical_json(policy.to_json()), "json")
        if answers:
            add_tiny_models(writer, spec)
        writer.add("golden.json", canonical_json(_golden(ids, dim).to_json()), "json")
        return writer.finish(name=name, recipe_name="drawn", created_utc=CREATED_UTC)


def _rows(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.int8]:
    drawn = np.round(rng.standard_normal((n, dim), np.float32) * 40)
    return np.clip(drawn, -127, 127).astype(np.int8)


def _prices(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    return np.round(rng.lognormal(3.0, 1.0, n), 2).astype(np.float32)


def _golden(ids: list[str], dim: int) -> Golden:
    case = GoldenCase(
        name="no events",
        now_utc=CREATED_UTC,
        item_ids=(),
        events=(),
        ts=(),
        user_vector=(0.25,) * dim,
        candidates=(3, 1),
        slate_ids=(ids[3], ids[1]),
        slate_scores=(0.75, 0.5),
    )
    return Golden(cases=(case,), vector_tolerance=1e-3, score_tolerance=1e-3)
