"""The recipe: everything tunable of one recommender, one TOML file a data set.

Types only; `load_recipe` is the one place where untrusted TOML becomes a `Recipe`.
"""

import difflib
import json
import math
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import StringConstraints, TypeAdapter, ValidationError

from pocketrec_bundle.encoding.strict_json import MAX_NUMBER, MAX_TEXT, shown
from pocketrec_bundle.features import BOUNDS, LENGTHS, MAX_NEIGHBOURS, NUMERIC
from pocketrec_bundle.settings.rules import MAX_BOUNDS, MAX_DEPTH, MAX_PLACE, MAX_PLACES, NUMBERS
from pocketrec_training.errors import RecipeInvalidError
from pocketrec_training.recipe.renamed_keys import rename_keys

Share = Annotated[float, Ge(0.0), Le(1.0)]
Positive = Annotated[int, Ge(1)]
Count = Annotated[int, Ge(0)]
Above0 = Annotated[float, Gt(0.0)]
Minutes = Annotated[float, Ge(0.0)]
"""Cap of a stage's training time, without set-up and compilation; 0 = no cap."""
Price = Annotated[float, Ge(0.0), Le(MAX_NUMBER)]
Prior = Annotated[float, Ge(NUMBERS["alpha"][0]), Le(NUMBERS["alpha"][1])]
Place = Annotated[int, Ge(1), Le(MAX_PLACE)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""Bounds of numpy's and Keras' seeds."""
MAX_NAME = MAX_TEXT - 20
"""Characters; a release's name adds a time and the digest of a catalogue's change."""
Variant = Literal["fp32", "fp16", "dynamic", "int8", "selective"]
SplitKind = Literal["leave_last", "global_time", "last_basket"]
_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the tables come from: a registered data set, or two files."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    dataset: str = ""
    interactions: str = ""
    items: str = ""
    max_bad_share: Share = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the source's columns; an empty text means the source has none."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    user: str = "user_id"
    item: str = "item_id"
    timestamp: str = "timestamp"
    event: str = ""
    value: str = ""
    item_id: str = "item_id"
    title: str = ""
    categories: str = ""
    categories_separator: str = "|"
    price: str = ""
    year: str = ""
    regions: str = ""
    age_rating: str = ""
    timestamp_format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The closed vocabulary of events; a value >= `like_value` turns `default` into "like"."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    default: str = "rating"
    types: Annotated[tuple[str, ...], Len(*LENGTHS["event_types"])] = ("rating", "like")
    like_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How interactions are held out, always by time."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    kind: SplitKind = "leave_last"
    valid_share: Share = 0.1
    test_share: Share = 0.1
    min_user_events: Positive = 5


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

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    dim: Annotated[int, Ge(1), Le(BOUNDS["dim"][1])] = 64
    blocks: Positive = 2
    heads: Positive = 2
    ffn: Positive = 2
    attention: Literal["softmax", "gated", "hstu"] = "softmax"
    positions: Literal["absolute", "relative", "both"] = "both"
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
        kind: "next" predicts the next item from a history; "together" ignores the order.
        per_item: neighbours of each item; 0 = no neighbours.
        l2: penalty of the ridge regression of both kinds.
        decay: weight of an event relative to the next event of the history, for "next".
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    kind: Literal["next", "together"] = "next"
    per_item: Annotated[int, Ge(0), Le(MAX_NEIGHBOURS)] = 0
    l2: Above0 = 200.0
    decay: Annotated[float, Ge(0.0), Lt(1.0)] = 0.8


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
        average: decay of the running average of the weights; 0 = no average.
        minutes: cap of the stage's training time; 0 = no cap.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
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
    heads: Annotated[tuple[Literal["engage", "like"], ...], Len(1)] = ("engage", "like")
    head_weights: tuple[float, ...] = (1.0, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """Cells of the candidate index and how many a search scans.

    Attributes:
        cells: number of cells; 0 = one cell.
        probes: cells that a search scans (nprobe); 0 = all.
        recall: minimum recall of a search. Export then chooses the probes; set it or `probes`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
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

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
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

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
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

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
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

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False
    choices: tuple[int | float | str | bool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """The search space of `pocketrec tune` by recipe key, and the limits of one trial."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    space: dict[str, SearchRange] = field(default_factory=dict)
    trial_minutes: Minutes = 0.0
    startup_trials: Count = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One recommender, from columns to budgets."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID
    name: str
    seed: Seed = 7
    data: DataConfig = field(default_factory=DataConfig)
    columns: Columns = field(default_factory=Columns)
    events: Events = field(default_factory=Events)
    split: Split = field(default_factory=Split)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    neighbours: NeighboursConfig = field(default_factory=NeighboursConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)


def load_recipe(path: Path, *, warn: Callable[[str], None] | None = None) -> Recipe:
    """Read and check a recipe, from TOML or from the `recipe.json` of a run.

    Args:
        path: the file; a name that ends in .json is read as the recipe of a run.
        warn: receives a text for each key with an old name; None: Python's `warnings`. The recipe
            of a run gives no warning, because its user did not write it.

    Raises:
        RecipeInvalidError: the file cannot be read or parsed; a key is unknown, has the wrong type
            or is out of bounds. TOML only, because such runs exist: a value that cannot give a
            useful release.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise RecipeInvalidError(f"{path}: cannot be read ({err})") from err
    try:
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise RecipeInvalidError(f"{path}: {err}") from err
    if path.suffix == ".json":
        warn = _ignore
    recipe = parse_recipe(value, str(path), warn=warn)
    if path.suffix != ".json":
        _check_useful(recipe, str(path))
        _check_heads(recipe, str(path))
    return recipe


def parse_recipe(value: object, where: str, *, warn: Callable[[str], None] | None = None) -> Recipe:
    """Check a parsed recipe.

    A recipe without `ranker.heads` gets the heads that its events can train: "like" needs likes.

    Args:
        value: the parsed TOML or JSON.
        where: file of the recipe; messages begin with it.
        warn: as for `load_recipe`.

    Raises:
        RecipeInvalidError: as for `load_recipe`.
    """
    if problems := _not_finite(value):
        raise RecipeInvalidError("\n".join(f"{where}: {problem}" for problem in problems))
    if isinstance(value, dict):
        value, texts = rename_keys(value, where)
        for text in texts:
            (warn or _warn)(text)
    try:
        recipe = TypeAdapter(Recipe).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as err:
        lines = [f"{where}: {_explain(dict(e))}" for e in err.errors()]
        raise RecipeInvalidError("\n".join(lines)) from err
    assert isinstance(value, dict)
    chosen = value.get("ranker", {}).keys() & {"heads", "head_weights"}
    if not chosen and not _has_likes(recipe):
        recipe = replace(
            recipe, ranker=replace(recipe.ranker, heads=("engage",), head_weights=(1.0,))
        )
    _check_together(recipe, where)
    return recipe


def recipe_json(recipe: Recipe) -> bytes:
    """Encode a recipe as indented JSON, for `RUN/recipe.json`."""
    return TypeAdapter(Recipe).dump_json(recipe, indent=2)


def _warn(text: str) -> None:
    warnings.warn(text, FutureWarning, stacklevel=3)


def _ignore(text: str) -> None:
    """Drop a warning."""


def _not_finite(value: object) -> list[str]:
    """Name each number that JSON cannot hold: inf, nan, or an integer beyond TOML's 64 bits."""
    problems: list[str] = []
    rest: list[tuple[str, object]] = [("", value)]
    while rest:
        key, found = rest.pop()
        if isinstance(found, dict):
            rest += [(f"{key}.{name}".removeprefix("."), one) for name, one in found.items()]
        elif isinstance(found, list):
            rest += [(f"{key}.{place}", one) for place, one in enumerate(found)]
        elif isinstance(found, float) and not math.isfinite(found):
            problems.append(f"{key}: must be a finite number (found {found})")
        elif isinstance(found, int) and found.bit_length() > 63:
            problems.append(f"{key}: must fit 64 bits (found {found.bit_length()} bits)")
    return sorted(problems)


def _explain(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        *parents, key = [str(part) for part in error["loc"]]
        close = difflib.get_close_matches(key, _keys(parents), n=1)
        hint = f", did you mean '{close[0]}'?" if close else f"; known: {', '.join(_keys(parents))}"
        return f"{place}: unknown key{hint}"
    return f"{place}: {error['msg']} (found {error['input']!r})"


def _keys(parents: list[str]) -> list[str]:
    kind: Any = Recipe
    for parent in parents:
        if get_origin(kind) is dict:  # any key, each with a value of one type
            kind = get_args(kind)[1]
            continue
        kind = next((f.type for f in fields(kind) if f.name == parent), None)
        if not is_dataclass(kind) and get_origin(kind) is not dict:
            return []
    return [f.name for f in fields(kind)]


def _check_together(recipe: Recipe, where: str) -> None:
    """Check what one field alone cannot show."""
    data, ranker, events, split = recipe.data, recipe.ranker, recipe.events, recipe.split
    if bool(data.dataset) == bool(data.interactions):
        raise RecipeInvalidError(f"{where}: data: set either dataset or interactions (with items)")
    lists: dict[str, tuple[object, ...]] = {
        "events.types": events.types,
        "ranker.heads": ranker.heads,
        "ranker.popularity_days": ranker.popularity_days,
    }
    for key, values in lists.items():
        twice = next((one for at, one in enumerate(values) if one in values[:at]), None)
        if twice is not None:
            raise RecipeInvalidError(f"{where}: {key}: {twice!r} occurs twice. Remove one.")
    if len(ranker.heads) != len(ranker.head_weights):
        raise RecipeInvalidError(
            f"{where}: ranker.head_weights: {len(ranker.head_weights)} weights for "
            f"{len(ranker.heads)} heads"
        )
    if events.default not in events.types:
        raise RecipeInvalidError(
            f"{where}: events.default: {events.default!r} is not in events.types"
        )
    if events.like_value is not None and "like" not in events.types:
        raise RecipeInvalidError(f"{where}: events.like_value needs 'like' in events.types")
    if recipe.retrieval.hard_negatives and recipe.retrieval.loss != "sampled":
        raise RecipeInvalidError(
            f"{where}: retrieval.hard_negatives needs retrieval.loss = 'sampled'"
        )
    if recipe.index.probes and recipe.index.recall:
        raise RecipeInvalidError(f"{where}: index: set either probes or recall")
    if recipe.retrieval.dim % recipe.retrieval.heads:
        raise RecipeInvalidError(f"{where}: retrieval.dim must be a multiple of retrieval.heads")
    fitted = {
        "ranker.popularity_days": ranker.popularity_days,
        "neighbours.per_item": recipe.neighbours.per_item,
    }
    for key, value in fitted.items():
        if value and ranker.examples == "train":
            raise RecipeInvalidError(
                f"{where}: {key} needs ranker.examples = 'valid': it comes from the training "
                "events, so it would contain the answers"
            )
    near = ranker.neighbour_candidates if recipe.neighbours.per_item else 0
    own = ranker.own_candidates if recipe.rerank.repeats else 0
    if near + own > ranker.candidates:
        raise RecipeInvalidError(
            f"{where}: ranker.neighbour_candidates + ranker.own_candidates ({near} + {own} in use) "
            f"must not exceed ranker.candidates ({ranker.candidates})"
        )
    if split.kind == "global_time" and not split.valid_share:
        raise RecipeInvalidError(
            f"{where}: split.valid_share: 0 leaves no event to choose epochs by and none for the "
            "ranker to learn from. Set it above 0, e.g. 0.1; split.test_share may be 0."
        )
    if split.valid_share + split.test_share >= 1:
        raise RecipeInvalidError(f"{where}: split: valid_share + test_share must stay below 1")
    if recipe.rerank.slate > ranker.candidates:
        raise RecipeInvalidError(f"{where}: rerank.slate must not exceed ranker.candidates")
    if (recipe.columns.regions or recipe.columns.age_rating) and recipe.export.format_version == 1:
        raise RecipeInvalidError(
            f"{where}: columns.regions, columns.age_rating: export.format_version = 1 has neither"
        )
    _check_rules(recipe.rerank, recipe.export.format_version, where)


def _has_likes(recipe: Recipe) -> bool:
    """Whether an event can be a like: by its value, by its own column, or all of them."""
    events = recipe.events
    made = events.like_value is not None or recipe.columns.event or events.default == "like"
    return "like" in events.types and bool(made)


def _check_useful(recipe: Recipe, where: str) -> None:
    """Refuse values that train but give no useful release."""
    weights = recipe.ranker.head_weights
    if not 1 <= len(recipe.name) <= MAX_NAME or not recipe.name.isprintable():
        raise RecipeInvalidError(
            f"{where}: name: must have 1 to {MAX_NAME} printable characters on one line (found "
            f"{shown(recipe.name)})"
        )
    if "" in recipe.events.types:
        raise RecipeInvalidError(f"{where}: events.types: an event type must not be empty")
    if not all(0 <= weight <= MAX_NUMBER for weight in weights) or not any(weights):
        raise RecipeInvalidError(
            f"{where}: ranker.head_weights: each weight must be at least 0 (at most "
            f"{MAX_NUMBER:g}) and one above 0, because they weigh the loss and the final score "
            f"(found {list(weights)})"
        )
    if not recipe.export.variants:
        raise RecipeInvalidError(f"{where}: export.variants: name at least one, e.g. ['fp32']")
    if not recipe.export.targets:
        raise RecipeInvalidError(
            f"{where}: export.targets: name at least one of {', '.join(get_args(TargetName))}, or "
            "leave the key out for all of them"
        )


def _check_heads(recipe: Recipe, where: str) -> None:
    """Refuse a head that no event of the recipe could ever be an example of."""
    types, ranker = recipe.events.types, recipe.ranker
    if "like" not in ranker.heads or _has_likes(recipe):
        return
    kept = [(h, w) for h, w in zip(ranker.heads, ranker.head_weights, strict=True) if h != "like"]
    mend = (
        f"ranker.heads = {[head for head, _ in kept]} and "
        f"ranker.head_weights = {[weight for _, weight in kept]}"
        if kept
        else 'ranker.heads = ["engage"] and ranker.head_weights = [1.0]'
    )
    raise RecipeInvalidError(
        f"{where}: ranker.heads: head 'like' has no event to learn from: events.types has "
        f"{', '.join(map(repr, types))}, and neither events.like_value nor columns.event can make "
        f"a like. Set {mend}; or bring likes (events.types, with events.like_value or "
        "columns.event)."
    )


def _check_rules(rerank: RerankConfig, format_version: int, where: str) -> None:
    chosen = {
        "diversity": rerank.diversity != "none",
        "category_calibration": rerank.category_calibration > 0,
        "popularity_calibration": rerank.popularity_calibration > 0,
    }
    if sum(chosen.values()) > 1:
        names = ", ".join(f"rerank.{name}" for name, is_on in chosen.items() if is_on)
        raise RecipeInvalidError(
            f"{where}: {names}: each selects the complete slate; set one of them"
        )
    if any(one >= two for one, two in pairwise(rerank.sponsored_places)):
        raise RecipeInvalidError(f"{where}: rerank.sponsored_places must be increasing")
    rising = all(one < two for one, two in pairwise(rerank.price_bounds))
    banded = {"rerank.price_cap": rerank.price_cap > 0}
    banded["rerank.explore_by = 'price'"] = rerank.explore_by == "price"
    for key, is_on in banded.items():
        if is_on and (not rerank.price_bounds or not rising):
            raise RecipeInvalidError(f"{where}: {key} needs rerank.price_bounds, increasing")
    others = (*rerank.sponsored_places, rerank.floor, rerank.freshness, rerank.price_cap)
    more = (
        *others,
        rerank.explore,
        rerank.near_duplicate_titles,
        rerank.category_cap_place,
        *chosen.values(),
    )
    if any(more) and format_version == 1:
        raise RecipeInvalidError(
            f"{where}: export.format_version = 1 has no rules but rerank.category_cap and "
            "rerank.near_duplicate_cosine"
        )
