"""Build a release from a finished run: convert, check, choose, pack. All of it, or nothing."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.features import History, tower_inputs, used_rows
from bundle.files import canonical_json
from bundle.golden import Golden, GoldenCase
from bundle.policy import Policy
from bundle.ranker_features import ItemColumns, Request, padded, ranker_features
from bundle.reader import Bundle
from bundle.writer import BundleWriter
from edge_runtime.engines import open_engine
from export import card, golden
from export.content import add_items
from export.convert import (
    ENGINES,
    Converted,
    ModelSignature,
    as_function,
    convert,
    ranker_signature,
    run_keras,
    tower_signature,
)
from export.errors import GateRefused
from export.index_builder import build_index
from training.dataset import (
    Dataset,
    category_codes,
    load_dataset,
    numeric_columns,
    release_popularity,
)
from training.progress import Progress
from training.trained import Trained, load_trained

SMALLEST_FIRST = ("dynamic", "fp16", "fp32")
SLACK = 4.0
"""Golden tolerances are this many times the difference seen between the engines here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """One model file against Keras on real inputs: bytes, largest and mean absolute error."""

    model: str
    engine: str
    variant: str
    bytes: int
    max_abs_error: float
    mean_abs_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What the export found; differing: golden slates that differ between engines, by variant."""

    name: str
    items: int
    bundle_bytes: int
    models_bytes: int
    default_variant: str
    differing: dict[str, int]
    parity: list[ParityRow]
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Real inputs of both models, as the device would build them."""

    tower: list[dict[str, Any]]
    ranker: list[dict[str, Any]]


def export_bundle(run_dir: Path, out: Path, *, force: bool = False) -> ExportReport:
    """Export a run as a bundle at `out`.

    Args:
        run_dir: a finished run; its tables give golden histories and popularity.
        out: the bundle folder; replaced only with `force`.
        force: also ship when the gate refuses; the card says so.

    Raises:
        GateRefused: no variant gives the same slates on both engines.
        RunInvalid: the run is incomplete.
        InputError: `out` exists.
    """
    with BundleWriter(out, force=force) as writer:
        trained = load_trained(run_dir)
        spec, recipe = trained.spec, trained.recipe
        data = load_dataset(recipe, run_dir)
        cases = _cases(data, recipe.export.golden_cases, recipe.seed)
        probe = _probe(trained, data, cases)
        index = build_index(
            trained.item_vectors, trained.items.ids, recipe.index.cells, recipe.seed
        )
        available = np.ones(len(trained.items), np.bool_)
        popularity = release_popularity(spec, data)
        add_items(writer, spec, trained.items, index, popularity, available, trained.neighbours)
        policy = Policy(
            slate=recipe.rerank.slate,
            category_cap=recipe.rerank.category_cap,
            near_duplicate_cosine=recipe.rerank.near_duplicate_cosine,
            probes=recipe.index.probes,
            candidates=recipe.ranker.candidates,
            repeats=recipe.rerank.repeats,
        )
        writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
        writer.add("policy.json", canonical_json(policy.to_json()), "json")
        parity = _add_models(writer, trained, probe)
        last_ts = int(data.ts.max())
        facts = {"name": f"{recipe.name}-{last_ts}", "recipe_name": recipe.name}
        draft = Bundle(writer.manifest(**facts, created_utc=last_ts), writer.blob_dir)
        blank = golden.blank_cases(cases, trained.items.ids, last_ts)
        choice = _choose(draft, blank, recipe.export.variants, force)
        writer.add("golden.json", canonical_json(choice.golden.to_json()), "json")
        for entry in draft.manifest.files:
            if entry.kind == "model" and entry.meta["variant"] == choice.variant:
                entry.meta["default"] = 1
        models_bytes = sum(
            entry.bytes
            for entry in draft.manifest.models("user_tower", "litert")[:1]
            + draft.manifest.models("ranker", "litert")[:1]
        )
        known = {e.sha256: e.bytes for e in draft.manifest.files}
        report = ExportReport(
            name=facts["name"],
            items=len(trained.items),
            bundle_bytes=sum(known.values()),
            models_bytes=models_bytes,
            default_variant=choice.variant,
            differing=choice.differing,
            parity=parity,
            forced=choice.forced,
        )
        for name, text in card.render(asdict(report), run_dir).items():
            writer.add(name, text, "card")
        writer.finish(**facts, created_utc=last_ts)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    variant: str
    golden: Golden
    differing: dict[str, int]
    forced: bool


def _choose(
    draft: Bundle, blank: list[GoldenCase], variants: tuple[str, ...], force: bool
) -> _Choice:
    """Take the smallest variant that gives the same slates on LiteRT and ONNX Runtime."""
    differing: dict[str, int] = {}
    answers: list[GoldenCase] = []
    for variant in (v for v in SMALLEST_FIRST if v in variants):
        answers, other = (golden.answer(draft, blank, engine, variant) for engine in ENGINES)
        vector, score, differing[variant] = golden.largest_difference(answers, other)
        if not differing[variant]:
            break
    passed = not differing[variant]
    if not passed and not force:
        raise GateRefused(
            "the engines disagree on golden slates, by variant: "
            + ", ".join(f"{name} {n} of {len(blank)}" for name, n in differing.items())
            + ". Train longer, or ship anyway with --force."
        )
    vector, score = golden.tolerances(draft, answers, (vector, score), SLACK)
    found = Golden(cases=tuple(answers), vector_tolerance=vector, score_tolerance=score)
    return _Choice(variant=variant, golden=found, differing=differing, forced=not passed)


def _cases(data: Dataset, n: int, seed: int) -> list[tuple[str, History]]:
    """An empty, a one-event and a more than full history, then users drawn at random."""
    rng = np.random.default_rng([seed, 2])
    lengths = np.diff(data.offsets)
    longest = int(np.argmax(lengths))
    cases = [
        ("empty", History.empty()),
        ("one event", data.history(longest, 1)),
        (f"full, {int(lengths[longest])} events", data.history(longest)),
    ]
    drawn = rng.choice(data.n_users, size=min(max(0, n - 3), data.n_users), replace=False)
    return [*cases, *((f"user {i}", data.history(int(u))) for i, u in enumerate(drawn))][:n]


def _probe(trained: Trained, data: Dataset, cases: list[tuple[str, History]]) -> Probe:
    spec, vectors = trained.spec, trained.item_vectors
    items = ItemColumns(
        category_codes(spec, trained.items.categories),
        numeric_columns(spec, trained.items, release_popularity(spec, data)),
        trained.neighbours,
    )
    tower = as_function(trained.user_tower, tower_signature(spec))
    towers, rankers = [], []
    for _, past in cases:
        now = int(past.ts[-1]) + golden.NOW_AFTER_S if len(past) else int(data.ts.max())
        recent = vectors[used_rows(spec, past)]
        inputs = tower_inputs(spec, past, recent, now)
        user = run_keras(tower, inputs)
        best = np.argsort(-(vectors @ user[0]), kind="stable")[: spec.candidates]
        request = Request(past, now, user, recent)
        towers.append(inputs)
        rankers.append(padded(spec, ranker_features(spec, items, request, best, vectors[best])))
    return Probe(tower=towers, ranker=rankers)


def _add_models(writer: BundleWriter, trained: Trained, probe: Probe) -> list[ParityRow]:
    """Convert both models, run every file in its own runtime, and add it with its error."""
    spec, variants = trained.spec, trained.recipe.export.variants
    jobs = (
        ("user_tower", trained.user_tower, tower_signature(spec), probe.tower),
        ("ranker", trained.ranker, ranker_signature(spec), probe.ranker),
    )
    parity: list[ParityRow] = []
    with Progress("export", len(jobs)) as bar:
        for done, (name, model, signature, inputs) in enumerate(jobs, 1):
            function = as_function(model, signature)
            truth = [run_keras(function, one) for one in inputs]
            parity += [
                _add_model(writer, name, signature, made, inputs, truth)
                for made in convert(model, signature, variants)
            ]
            bar.advance(done, name)
    return parity


def _add_model(
    writer: BundleWriter,
    model: str,
    signature: ModelSignature,
    made: Converted,
    inputs: list[dict[str, Any]],
    truth: list[Any],
) -> ParityRow:
    name = f"models/{model}.{made.engine}.{made.variant}"
    facts: dict[str, str | int | float] = {
        "model": model,
        "engine": made.engine,
        "variant": made.variant,
        "min_runtime": made.min_runtime,
        "output": signature.output,
    }
    entry = writer.add(name, made.data, "model", **facts)
    engine = open_engine(writer.path_of(name), made.engine)
    errors = np.concatenate(
        [
            np.abs(engine.run(one) - wanted).ravel()
            for one, wanted in zip(inputs, truth, strict=True)
        ]
    )
    entry.meta["max_abs_error"] = float(errors.max())
    return ParityRow(
        model=model,
        engine=made.engine,
        variant=made.variant,
        bytes=len(made.data),
        max_abs_error=float(errors.max()),
        mean_abs_error=float(errors.mean()),
    )
