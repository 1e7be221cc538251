import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.golden.vectors import Golden
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.manifest import USUAL_VERSION
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter

IDS = ["a", "b", "10", "9", "é-1"]  # two cells, each in order


@pytest.fixture
def spec() -> FeatureSpec:
    return FeatureSpec(
        dim=4,
        max_history=3,
        event_types=("rating", "like"),
        categories=("drama", "war"),
        max_categories=2,
        heads=("engage", "like"),
        head_weights=(1.0, 0.5),
        candidates=4,
    )


@pytest.fixture
def make_bundle(spec: FeatureSpec, tmp_path: Path):
    """Return a function that writes a five-item bundle without models and returns its folder."""

    def make(name: str = "five", *, title: str = "T", version: int = USUAL_VERSION) -> Path:
        rng = np.random.default_rng(5)
        n = len(IDS)
        offsets = np.array([0, 2, n], np.int32)
        items = ItemArrays(
            ids=IDS,
            by_id=np.array(sorted(range(n), key=IDS.__getitem__)),
            offsets=offsets,
            scales=np.full(n, 0.01, np.float32),
            categories=np.array([[1, 0], [1, 2], [2, 0], [0, 0], [1, 0]], np.uint16),
            numeric=np.full((n, 3), -1, np.float32),
            available=np.ones(n, np.bool_),
        )
        arrays: dict[str, NDArray[Any]] = {
            "index/centroids": np.zeros((2, 4), np.float32),
            "index/offsets": offsets,
            "index/rows": rng.integers(-127, 128, (n, 4)).astype(np.int8),
            "items/popular": np.array([3, 1], np.int32),
            **item_files(version, items),
        }
        database = tmp_path / "catalogue.sqlite"
        write_catalogue(
            database,
            [CatalogueItem(r, IDS[r], f"{title} {IDS[r]}", "drama", None, 1990) for r in range(n)],
        )
        policy = Policy(slate=3, category_cap=2, near_duplicate_cosine=0.98, probes=0, candidates=4)
        golden = Golden(cases=(), vector_tolerance=1e-3, score_tolerance=1e-3)
        with BundleWriter(tmp_path / name, format_version=version) as writer:
            for key, array in arrays.items():
                writer.add(key, encode_array(array), "array")
            writer.add("catalogue.sqlite", database.read_bytes(), "catalogue")
            writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
            writer.add("policy.json", canonical_json(policy.to_json()), "json")
            writer.add("golden.json", canonical_json(golden.to_json()), "json")
            writer.finish(name=name, recipe_name="test", created_utc=1)
        return tmp_path / name

    return make


@pytest.fixture
def edit_manifest():
    """Return a function that changes a bundle's manifest in place, keeping it valid JSON."""

    def edit(folder: Path, change) -> None:
        path = folder / "manifest.json"
        value = json.loads(path.read_bytes())
        change(value)
        path.write_bytes(canonical_json(value))

    return edit


@pytest.fixture
def resign(edit_manifest):
    """Return a function that changes files of a bundle and its manifest to fit, as a signer can."""

    def change(folder: Path, files: dict[str, bytes]) -> None:
        def entries(manifest) -> None:
            known = {entry["name"]: entry for entry in manifest["files"]}
            for name, data in files.items():
                sha256 = hashlib.sha256(data).hexdigest()
                (folder / "files" / sha256).write_bytes(data)
                entry = known.setdefault(name, {"name": name, "kind": "array", "meta": {}})
                entry |= {"sha256": sha256, "bytes": len(data)}
            manifest["files"] = [known[name] for name in sorted(known)]

        edit_manifest(folder, entries)

    return change
