"""A bundle with seeded, untrained models."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import encode_array
from pocketrec_bundle.features import FeatureSpec, History
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.manifest import USUAL_VERSION
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter

N, DIM = 300, 16


def write_release(
    folder: Path, variants: tuple[str, ...], *, dim: int = DIM, deep: tuple[int, ...] = (8,)
) -> Path:
    """Write a bundle with seeded, untrained models; the first variant is the default.

    Layers of fewer than 1,024 weights are never quantized: a small one has variants in name only.
    """
    from pocketrec_export.golden import answers as golden
    from pocketrec_export.items.index_builder import build_index, by_id
    from pocketrec_export.models.convert import convert, ranker_signature, tower_signature
    from pocketrec_training.ranker.model import build_ranker
    from pocketrec_training.recipe.schema import RankerConfig, RetrievalConfig
    from pocketrec_training.towers.user_tower import build_user_tower

    spec = FeatureSpec(
        dim=dim,
        max_history=8,
        event_types=("rating", "like"),
        categories=("a", "b", "c"),
        max_categories=2,
        heads=("engage", "like"),
        head_weights=(1.0, 0.5),
        candidates=50,
    )
    import keras

    keras.utils.set_random_seed(1)
    tower = build_user_tower(RetrievalConfig(dim=dim, blocks=1), spec)
    ranker = build_ranker(RankerConfig(cross_layers=1, cross_rank=4, deep=deep), spec)
    rng = np.random.default_rng(0)
    ids = [f"item-{i}" for i in range(N)]
    index = build_index(rng.normal(size=(N, dim)).astype(np.float32), ids, 5, 0)
    ids = [ids[i] for i in index.order]
    items = ItemArrays(
        ids=ids,
        by_id=by_id(ids),
        offsets=index.offsets,
        scales=index.scales,
        categories=np.stack([np.arange(N) % 4, np.zeros(N)], 1).astype(np.uint16),
        numeric=rng.uniform(0, 90, (N, 3)).astype(np.float32),
        available=np.arange(N) % 10 > 0,
    )
    arrays: dict[str, NDArray[Any]] = {
        "index/centroids": index.centroids,
        "index/offsets": index.offsets,
        "index/rows": index.rows,
        "items/popular": np.arange(20, dtype=np.int32),
        **item_files(USUAL_VERSION, items),
    }
    policy = Policy(slate=10, category_cap=4, near_duplicate_cosine=0.98, probes=2, candidates=50)
    write_catalogue(
        folder / "c",
        (CatalogueItem(r, ids[r], f"Title {ids[r]}", "a", None, None) for r in range(N)),
    )
    with BundleWriter(folder / "bundle") as writer:
        for name, array in arrays.items():
            writer.add(name, encode_array(array), "array")
        writer.add("catalogue.sqlite", (folder / "c").read_bytes(), "catalogue")
        writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
        writer.add("policy.json", canonical_json(policy.to_json()), "json")
        for model, built, signature in (
            ("user_tower", tower, tower_signature(spec)),
            ("ranker", ranker, ranker_signature(spec)),
        ):
            for made in convert(built, signature, variants):
                about = {"model": model, "engine": made.engine, "variant": made.variant}
                default = {"default": 1} if made.variant == variants[0] else {}
                name = f"models/{model}.{made.engine}.{made.variant}"
                least = made.min_runtime
                writer.add(name, made.data, "model", **about, **default, min_runtime=least)
        facts: dict[str, Any] = {"name": "small", "recipe_name": "t"}
        facts["created_utc"] = 1_600_000_000
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        past = History(
            np.array([3, 9, 30], np.int32),
            np.array([0, 1, 1], np.int32),
            np.array([10, 20, 30], np.int64),
        )
        cases = golden.blank_cases([("empty", History.empty()), ("three", past)], ids, 99)
        golden.add(writer, golden.answered(draft, cases))
        writer.finish(**facts)
    return folder / "bundle"
