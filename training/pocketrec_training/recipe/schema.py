"""The recipe: everything tunable of one recommender, one TOML file a data set.

Types only; load.py reads a recipe, tables.py has the settings of the tables.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Le, Len, Lt
from pydantic import StringConstraints

from pocketrec_bundle.features import BOUNDS, LENGTHS, MAX_NEIGHBOURS, NUMERIC
from pocketrec_bundle.settings.rules import MAX_BOUNDS, MAX_DEPTH, MAX_PLACES
from pocketrec_training.recipe.bounds import (
    FORBID,
    Above0,
    Count,
    Minutes,
    Place,
    Positive,
    Price,
    Prior,
    Seed,
    Share,
    Variant,
)
from pocketrec_training.recipe.objective import Objective
from pocketrec_training.recipe.tables import Columns, DataConfig, Events, Features, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalConfig:
    """The two-tower model and its training.

    Attributes:
        negatives: sampled negatives; for the sampled losses, as are the next two.
        negative_power: exponent of popularity in sampling.
        hard_negatives: nearest items of each target that are added as negatives.
        gbce_t: t of gBCE.
        validate_users: maximum users validated each epoch; 0 = all.
        warmup: share of the schedule in which the learning rate rises.
        average: decay of the running average of the weights; 0 = no average.
        quantize_from: share of the schedule after which the item matrix is rounded to int8.
        precision: Keras dtype policy of the user tower's products in training. The saved model has
            float32.
        minutes: cap of the stage's training time; 0 = no cap.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    dim: Annotated[int, Ge(1), Le(BOUNDS["dim"][1])] = 64
    blocks: Positive = 2
    heads: Positive = 2
    ffn: Positive = 2
    attention: Literal["softmax", "gated", "hstu"] = "softmax"
    positions: Literal["absolute", "relative", "both", "none"] = "both"
    max_history: Annotated[int, Ge(2), Le(BOUNDS["max_history"][1])] = 50
    dropout: Share = 0.3
    id_dropout: Share = 0.1
    title_buckets: Positive = 2048
    loss: Literal["softmax", "sampled", "gbce"] = "softmax"
    negatives: Positive = 512
    negative_power: Share = 0.5
    hard_negatives: Count = 0
    gbce_t: Share = 0.75
    batch: Positive = 64
    epochs: Positive = 60
    patience: Positive = 6
    validate_users: Count = 0
    learning_rate: Above0 = 0.001
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.02
    weight_decay: Share = 0.0
    average: Share = 0.0
    quantize_from: Share = 0.8
    replicas: Positive = 1
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    minutes: Minutes = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighboursConfig:
    """Item neighbours in the release.

    Attributes:
        kind: "next" predicts the next item from a history; "together" ignores the order; "cosine"
            compares the items' sets of users; "auto" is the best of them on validation cases, with
            its own settings.
        per_item: neighbours of each item; 0 = no neighbours.
        l2: penalty of the ridge regression of "next" and "together".
        dropout: share of each history that "together" hides from itself in the fit, in expectation.
        shrink: users; n shared users make n / (n + shrink) of a "cosine" count.
        decay: weight of an event relative to the next event of the history.
        content_events: events at which half of an item's weights are its own, and half those of
            its most similar items by content; 0 = all are its own.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    kind: Literal["next", "together", "cosine", "auto"] = "next"
    per_item: Annotated[int, Ge(0), Le(MAX_NEIGHBOURS)] = 0
    l2: Above0 = 200.0
    dropout: Annotated[float, Ge(0.0), Lt(1.0)] = 0.0
    shrink: Annotated[float, Ge(0.0)] = 0.0
    decay: Annotated[float, Ge(0.0), Lt(1.0)] = 0.8
    content_events: Annotated[float, Ge(0.0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerConfig:
    """The DCN-v2 ranker.

    Attributes:
        vector_gain: scale of the towers' vectors, relative to columns of scale 1.
        ple_bins: bins of the piecewise linear encoding (PLE) of each column; 0 = no encoding.
        ple_scale: scale of the encoded columns, relative to columns of scale 1.
        candidates: number of items ranked at once; the fixed batch B of the exported graph.
        neighbour_candidates: how many of them are neighbours of the history's items, if the
            release has neighbours.
        own_candidates: how many of them are items of the user's history, if the rules allow
            repeats.
        popularity_days: half-lives of more popularity columns; one column always counts all time.
        examples: "valid" learns from validation events, which the towers were not trained on.
            "train" learns from the towers' own training events, where retrieval's scores are
            better than on new events.
        blend: start from the mix of retrieval, neighbours, popularity and habit that is fitted on
            validation lists, not from retrieval's order alone.
        short_share: share of the cases that are learned a second time with a short history, as on
            a new phone.
        average: decay of the running average of the weights; 0 = no average.
        minutes: cap of the stage's training time; 0 = no cap.
        heads: "engage" and "like", or the names of the objectives.
        formula: of the final score, over heads and numeric columns; empty: the sum of the heads by
            `head_weights`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    cross_layers: Positive = 1
    cross_rank: Positive = 8
    deep: tuple[Positive, ...] = (32, 16)
    vector_gain: Share = 0.1
    ple_bins: Count = 6
    ple_scale: Share = 0.3
    candidates: Annotated[int, Ge(1), Le(BOUNDS["candidates"][1])] = 200
    neighbour_candidates: Annotated[int, Ge(0), Le(BOUNDS["neighbour_candidates"][1])] = 50
    own_candidates: Annotated[int, Ge(0), Le(BOUNDS["own_candidates"][1])] = 50
    popularity_days: Annotated[
        tuple[Positive, ...], Len(0, LENGTHS["numeric"][1] - len(NUMERIC))
    ] = ()
    examples: Literal["valid", "train"] = "valid"
    blend: bool = False
    short_share: Share = 0.0
    negatives: Positive = 50
    hard_share: Share = 0.5
    loss: Literal["pointwise", "pairwise", "listwise"] = "pointwise"
    calibration: Literal["platt", "isotonic"] = "platt"
    recent: Annotated[int, Ge(1), Le(BOUNDS["recent"][1])] = 5
    batch: Positive = 64
    epochs: Positive = 20
    learning_rate: Above0 = 0.003
    dropout: Share = 0.2
    weight_decay: Annotated[float, Ge(0.0)] = 0.01
    average: Share = 0.98
    minutes: Minutes = 0.0
    heads: Annotated[tuple[str, ...], Len(1)] = ("engage", "like")
    head_weights: tuple[float, ...] = (1.0, 0.5)
    formula: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """Cells of the candidate index and how many a search scans.

    Attributes:
        cells: number of cells; 0 = one cell.
        probes: cells that a search scans (nprobe); 0 = all.
        recall: minimum recall of a search. Export then chooses the probes; set it or `probes`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    cells: Count = 0
    probes: Count = 0
    recall: Share = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankConfig:
    """The slate's rules; 0 turns a rule off.

    At most one of `diversity`, `category_calibration` and `popularity_calibration` can be on.

    Attributes:
        repeats: whether items of the user's history can be recommended again.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    slate: Positive = 10
    category_cap: Count = 4
    near_duplicate_cosine: Annotated[float, Ge(0.0), Le(2.0)] = 0.98
    repeats: bool = False
    depth: Annotated[int, Ge(1), Le(MAX_DEPTH)] = 200
    category_cap_place: Annotated[int, Ge(0), Le(255)] = 0
    near_duplicate_titles: bool = False
    floor: Share = 0.0
    freshness: Share = 0.0
    freshness_half_life: Annotated[float, Ge(0.1), Le(1000.0)] = 5.0
    diversity: Literal["none", "mmr", "dpp"] = "none"
    diversity_relevance: Share = 0.7
    category_calibration: Share = 0.0
    popularity_calibration: Share = 0.0
    price_cap: Annotated[int, Ge(0), Le(1000)] = 0
    price_bounds: Annotated[tuple[Price, ...], Len(0, MAX_BOUNDS)] = ()
    explore: Share = 0.0
    explore_pool: Annotated[int, Ge(1), Le(1000)] = 50
    explore_first: Annotated[int, Ge(1), Le(1000)] = 1
    explore_by: Literal["uniform", "category", "popularity", "price"] = "uniform"
    explore_prior: tuple[Prior, Prior] = (1.0, 1.0)
    sponsored_places: Annotated[tuple[Place, ...], Len(0, MAX_PLACES)] = ()
    sponsored_floor: Share = 0.5
    sponsored_per_day: Annotated[int, Ge(1), Le(1000)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Limits of the models for one kind of phone. The smallest variant within all limits ships.

    Attributes:
        engine: "auto" is the engine that `pocketrec_export.gates.choose` names for the target.
        runtime: oldest runtime that must load the models, e.g. "2.14.0"; "auto" as for `engine`.
        models_bytes: maximum size of both model files.
        latency_ratio: maximum time, relative to the fp32 file in the same runtime.
        cosine: minimum cosine of the user tower's vectors with those of Keras.
        overlap: minimum overlap of the first 100 items that these vectors retrieve.
        rank_correlation: minimum rank correlation of the ranker's scores with those of Keras.
        slate_overlap: minimum overlap of golden slates with exact slates.
        ndcg_loss: maximum relative loss on validation cases, with the device's models and index.
        auc_loss: maximum absolute loss on the same cases.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    engine: Literal["auto", "litert", "onnx"] = "auto"
    runtime: Annotated[str, StringConstraints(pattern=r"^(auto|[0-9]+(\.[0-9]+){1,2})$")] = "auto"
    models_bytes: Positive = 1_000_000
    latency_ratio: Above0 = 3.0
    cosine: Share = 0.9999
    overlap: Share = 0.99
    rank_correlation: Share = 0.99
    slate_overlap: Share = 0.9
    ndcg_loss: Share = 0.005
    auc_loss: Share = 0.001


TargetName = Literal["android", "ios", "web", "legacy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of the export.

    Attributes:
        variants: model variants from which the gates choose.
        targets: kinds of phones for which they choose.
        golden_cases: number of golden cases in the bundle.
        gate_cases: maximum number of validation cases on which quality is measured.
        require_gain: treatment of a run that lost against the best simple baseline in its last
            test evaluation.
        compact_share: maximum share of rows of withdrawn items. A catalogue release that exceeds
            it drops these rows.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    variants: tuple[Variant, ...] = ("fp32", "fp16", "dynamic", "int8", "selective")
    targets: dict[TargetName, Target] = field(
        default_factory=lambda: {name: Target() for name in get_args(TargetName)}
    )
    golden_cases: Positive = 16
    gate_cases: Positive = 1000
    require_gain: Literal["off", "warn", "refuse"] = "warn"
    format_version: Literal[1, 2] = 2
    ort_format: bool = False
    compact_share: Share = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRange:
    """Values of one recipe key in a search: a range (log or in steps), or choices."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False
    choices: tuple[int | float | str | bool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """The search space of `pocketrec tune` by recipe key, and the limits of one trial."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    space: dict[str, SearchRange] = field(default_factory=dict)
    trial_minutes: Minutes = 0.0
    startup_trials: Count = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One recommender, from columns to budgets."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    name: str
    seed: Seed = 7
    data: DataConfig = field(default_factory=DataConfig)
    columns: Columns = field(default_factory=Columns)
    features: Features = field(default_factory=Features)
    events: Events = field(default_factory=Events)
    split: Split = field(default_factory=Split)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    neighbours: NeighboursConfig = field(default_factory=NeighboursConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    objectives: tuple[Objective, ...] = ()
    index: IndexConfig = field(default_factory=IndexConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)


def uses_time(recipe: Recipe) -> bool:
    """Whether the models may use when events were, and in which order.

    They may not if the table has no times, or if the split holds out events of any time.
    """
    return bool(recipe.columns.timestamp) and recipe.split.kind not in ("random", "given")


def without_order(recipe: Recipe) -> Recipe:
    """Return the recipe without the settings that use times or the order of events."""
    kind = recipe.neighbours.kind
    return replace(
        recipe,
        retrieval=replace(recipe.retrieval, positions="none"),
        neighbours=replace(recipe.neighbours, kind="together" if kind == "next" else kind),
        ranker=replace(recipe.ranker, popularity_days=()),
    )
