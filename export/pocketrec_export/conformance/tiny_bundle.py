"""A release of 48 items with everything but models: small enough to open thousands of times.

With those of `tiny_models.py` it answers, and its golden vectors are its own answers.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pocketrec_bundle.declared import FittedFeatures
from pocketrec_bundle.declared.fitted import FILE as FEATURES_FILE
from pocketrec_bundle.declared.write import feature_files
from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.arrays import Array, encode_array
from pocketrec_bundle.features import NEIGHBOUR_PAIR, PAIR, REPEAT_PAIR, FeatureSpec
from pocketrec_bundle.golden.vectors import Golden, GoldenCase
from pocketrec_bundle.items.audience import (
    NAMES_FILE,
    UNRATED,
    Audience,
    OpenAudience,
    audience_files,
)
from pocketrec_bundle.items.audience import SINCE as AUDIENCE_SINCE
from pocketrec_bundle.items.catalogue import CatalogueItem, write_catalogue
from pocketrec_bundle.items.cohorts import CODES_FILE, ROWS_FILE
from pocketrec_bundle.items.items import ItemArrays
from pocketrec_bundle.manifest import USUAL_VERSION, Manifest
from pocketrec_bundle.objectives import HeadMeaning, Objectives, parse
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_bundle.reader import (
    COHORTS_SINCE,
    FEATURES_SINCE,
    OBJECTIVES_SINCE,
    RULES_SINCE,
    Bundle,
)
from pocketrec_bundle.settings.campaigns import FILE as CAMPAIGNS_FILE
from pocketrec_bundle.settings.campaigns import Campaign, Campaigns
from pocketrec_bundle.settings.model_sets import ARM_RANKER, file_name
from pocketrec_bundle.settings.policy import Policy
from pocketrec_bundle.settings.rules import FILE as RULES_FILE
from pocketrec_bundle.settings.rules import (
    BandCalibration,
    BandCap,
    BandThompson,
    CategoryCap,
    Freshness,
    NearDuplicates,
    QualityFloor,
    Rules,
    Sponsored,
)
from pocketrec_bundle.versions import item_files
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.conformance.tiny_features import FEATURES, tiny_features
from pocketrec_export.golden import answers as golden
from pocketrec_export.golden import edges as golden_edges
from pocketrec_export.golden.features import golden_features
from pocketrec_export.golden.set_proofs import add_set_proofs
from pocketrec_export.items.cohorts import cohort_lists

N_ITEMS, DIM, NEIGHBOURS = 48, 8, 3
OFFSETS = (0, 11, 11, 29, N_ITEMS)
CREATED_UTC = 1_700_000_000
NO_FEATURES = FittedFeatures()
_NAMES = [f"é-{row}" if row % 5 == 0 else f"item {row * 7 % N_ITEMS}" for row in range(N_ITEMS)]
IDS = [one for start, stop in pairwise(OFFSETS) for one in sorted(_NAMES[start:stop])]

SPEC = FeatureSpec(
    dim=DIM,
    max_history=6,
    event_types=("rating", "like"),
    categories=("drama", "war", "comedy"),
    max_categories=2,
    heads=("engage", "like"),
    head_weights=(1.0, 0.5),
    candidates=8,
    pair=(*PAIR, *NEIGHBOUR_PAIR, *REPEAT_PAIR),
    neighbours=NEIGHBOURS,
    neighbour_decay=0.8,
    neighbour_candidates=3,
    own_candidates=2,
)
OBJECTIVES = Objectives(
    heads=(
        HeadMeaning(
            name="engage", kind="binary", events=("rating", "like"), window_s=0, calibration="platt"
        ),
        HeadMeaning(
            name="like",
            kind="value",
            events=("like",),
            window_s=86_400,
            calibration="isotonic",
            scale=40.0,
            unit="seconds",
        ),
    ),
    formula=parse(
        "engage * max(price, 1) + like / 40 - 0.01 * log1p(popularity)", SPEC.heads, SPEC.numeric
    ),
)
POLICY = Policy(
    slate=5, category_cap=2, near_duplicate_cosine=0.98, probes=2, candidates=8, repeats=True
)
RULES = Rules(
    depth=8,
    rules=(
        Freshness(half_life_years=5.0, weight=0.1),
        QualityFloor(relevance=0.05),
        NearDuplicates(cosine=0.98, titles=True),
        BandCalibration(column="popularity", bounds=(2.0, 5.0), weight=0.3),
        CategoryCap(place=0, limit=2),
        BandCap(column="price", bounds=(4.0, 8.0), limit=3),
        Sponsored(places=(1, 3), relevance=0.1, per_day=2),
        BandThompson(
            column="price",
            bounds=(3.0, 6.0),
            epsilon=0.2,
            pool=4,
            first=2,
            alpha=1.0,
            beta=20.0,
        ),
    ),
)
CAMPAIGNS = Campaigns(
    campaigns=tuple(
        Campaign(
            id=f"campaign-{row}",
            item_id=IDS[row],
            label="Sponsored",
            from_utc=CREATED_UTC - 1000,
            until_utc=CREATED_UTC + 1000,
            priority=row % 3,
        )
        for row in range(0, N_ITEMS, 2)
    )
)


def tiny_items() -> ItemArrays:
    """The items: some columns of few values, which version 2 codes, and one that it does not."""
    rng = np.random.default_rng(11)
    few = rng.integers(-1, 9, (N_ITEMS, 2))
    return ItemArrays(
        ids=IDS,
        by_id=np.array(sorted(range(N_ITEMS), key=IDS.__getitem__)),
        offsets=np.array(OFFSETS, np.int32),
        scales=rng.choice(np.array([0.005, 0.0075, 0.01], np.float32), N_ITEMS),
        categories=rng.integers(0, 4, (N_ITEMS, 2)).astype(np.uint16),
        numeric=np.column_stack([few, np.arange(N_ITEMS) / 4]).astype(np.float32),
        available=np.arange(N_ITEMS) % 9 > 0,
    )


def tiny_audience() -> Audience:
    """Forty regions, so that an item's bits take five bytes; some items say nothing."""
    names = [f"r{at:02}" for at in range(40)]
    return Audience(
        regions=[tuple(names[row % 5 :: 5]) if row % 3 else () for row in range(N_ITEMS)],
        age_ratings=np.array(
            [(0, 6, 12, 18, UNRATED)[row // 5 % 5] for row in range(N_ITEMS)], np.uint8
        ),
    )


def write_tiny_bundle(
    out: Path,
    version: int = USUAL_VERSION,
    *,
    answers: bool = False,
    name: str = "tiny",
    rules: Rules | None = RULES,
    changed: int = 0,
    sets: Mapping[str, float] = MappingProxyType({}),
) -> Manifest:
    """Write the release to `out`, replacing its content; always the same bytes.

    Args:
        out: the bundle folder.
        version: of the format.
        answers: give it its two ONNX models.
        name: of the release.
        rules: None: re-ranking goes by the policy alone.
        changed: so many of the first items have another vector.
        sets: model sets, if it answers: by name, the weight of votes of the ranker.
    """
    rng, items = np.random.default_rng(12), tiny_items()
    arrays: dict[str, Array] = {
        "index/centroids": rng.normal(size=(len(OFFSETS) - 1, DIM)).astype(np.float32),
        "index/offsets": np.array(OFFSETS, np.int32),
        "index/rows": rng.integers(-127, 128, (N_ITEMS, DIM)).astype(np.int8),
        "items/popular": np.array([3, 1, 20, 8, 11, 2], np.int32),
        "items/neighbours": rng.integers(0, N_ITEMS, (N_ITEMS, NEIGHBOURS)).astype(np.int32),
        "items/neighbour_weights": rng.integers(-127, 128, (N_ITEMS, NEIGHBOURS)).astype(np.int8),
        "items/neighbour_scales": rng.uniform(0.001, 0.01, N_ITEMS).astype(np.float32),
        **item_files(version, items),
    }
    arrays["index/rows"][:changed] *= -1
    if version >= COHORTS_SINCE:
        cohorts = cohort_lists(items.categories, items.numeric[:, 0], items.available)
        arrays |= {CODES_FILE: cohorts.codes, ROWS_FILE: cohorts.rows}
    declared = FittedFeatures()
    if version >= FEATURES_SINCE:
        declared, columns = feature_files(FEATURES, tiny_features(N_ITEMS))
        arrays |= columns
    with BundleWriter(out, force=True, format_version=version) as writer:
        if declared.items:
            writer.add(FEATURES_FILE, canonical_json(declared.to_json()), "json")
        if version >= AUDIENCE_SINCE:
            region_names, columns = audience_files(tiny_audience(), OpenAudience(), None)
            assert region_names is not None
            writer.add(NAMES_FILE, region_names, "json")
            arrays |= columns
        for each, array in arrays.items():
            writer.add(each, encode_array(array), "array")
        database = writer.blob_dir.parent / "catalogue.sqlite"
        write_catalogue(database, map(_display, range(N_ITEMS)))
        writer.add("catalogue.sqlite", database.read_bytes(), "catalogue")
        database.unlink()
        writer.add("feature_spec.json", canonical_json(SPEC.to_json()), "json")
        if version >= OBJECTIVES_SINCE:
            writer.add(OBJECTIVES_FILE, canonical_json(OBJECTIVES.to_json()), "json")
        writer.add("policy.json", canonical_json(POLICY.to_json()), "json")
        if rules is not None and version >= RULES_SINCE:
            writer.add(RULES_FILE, canonical_json(rules.to_json()), "json")
            writer.add(CAMPAIGNS_FILE, canonical_json(CAMPAIGNS.to_json()), "json")
        writer.add("model_card.json", canonical_json({"licence": "CC0"}), "card", licence="CC0")
        facts: dict[str, Any] = {"name": name, "recipe_name": "tiny", "created_utc": CREATED_UTC}
        if answers:
            _add_models(writer, facts, declared, sets)
        else:
            draft = Bundle(writer.manifest(**facts), writer.blob_dir)
            writer.add("golden.json", canonical_json(_golden().to_json()), "json")
            golden.add_cases(writer, golden_edges.edges(draft), golden_features(draft))
        return writer.finish(**facts)


def _add_models(
    writer: BundleWriter,
    facts: dict[str, Any],
    declared: FittedFeatures,
    sets: Mapping[str, float],
) -> None:
    """Add models, and golden vectors that they answer."""
    from pocketrec_export.conformance import tiny_models

    add_tiny_models(writer, SPEC, declared)
    for name, votes_weight in sets.items():
        data = tiny_models.ranker(SPEC, declared, votes_weight)
        _add_model(writer, file_name(name, "onnx", "fp32"), data, model=ARM_RANKER, set=name)
    draft = Bundle(writer.manifest(**facts), writer.blob_dir)
    answered = golden.answered(draft, list(_golden().cases))
    golden.add(writer, answered)
    draft = Bundle(writer.manifest(**facts), writer.blob_dir)
    add_set_proofs(writer, draft, answered.golden, answered.stages)


def add_tiny_models(
    writer: BundleWriter, spec: FeatureSpec, declared: FittedFeatures = NO_FEATURES
) -> None:
    """Add the two ONNX models of `tiny_models.py`; the spec must have their features."""
    from pocketrec_export.conformance import tiny_models  # reading ONNX takes half a second

    for model, data in (
        ("user_tower", tiny_models.user_tower(spec)),
        ("ranker", tiny_models.ranker(spec, declared)),
    ):
        _add_model(writer, f"models/{model}.onnx.fp32", data, model=model)


def _add_model(writer: BundleWriter, name: str, data: bytes, **meta: str) -> None:
    writer.add(
        name,
        data,
        "model",
        **meta,
        engine="onnx",
        variant="fp32",
        default=1,
        min_runtime="1.17.0",
    )


def _display(row: int) -> CatalogueItem:
    price = row + 0.5 if row % 3 else None
    return CatalogueItem(row, IDS[row], f"Title {row}", "drama|war", price, 1990 + row)


def _golden() -> Golden:
    """Histories of 0, 1 and 7 events; without models the answers are only well formed."""
    cases = tuple(
        GoldenCase(
            name=f"{n} events",
            now_utc=CREATED_UTC,
            item_ids=tuple(IDS[row * 3] for row in range(n)),
            events=tuple(row % 2 for row in range(n)),
            ts=tuple(CREATED_UTC - 5000 * (n - row) for row in range(n)),
            user_vector=(0.25,) * DIM,
            candidates=(3, 1),
            slate_ids=(IDS[3], IDS[1]),
            slate_scores=(0.75, 0.5),
        )
        for n in (0, 1, 7)
    )
    return Golden(cases=cases, vector_tolerance=1e-3, score_tolerance=1e-3)
