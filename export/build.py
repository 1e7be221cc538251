"""Build a release from a finished run: convert, measure, choose, pack. All of it, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.files import canonical_json
from bundle.policy import Policy
from bundle.reader import Bundle
from bundle.writer import BundleWriter
from edge_runtime.parity import Inputs, ranked
from export import card, gates, golden
from export.content import add_items
from export.convert import convert, ranker_signature, tower_signature
from export.errors import GateRefused
from export.gates import Choice, GateRow
from export.index_builder import build_index
from export.measure import FileFigures, Measured, Truth, measure
from export.probe import (
    golden_histories,
    probe,
    whole_histories,
)
from export.quality import PairQuality
from training.dataset import Dataset, load_dataset, release_popularity
from training.progress import Progress
from training.recipe import Recipe
from training.trained import Trained, load_trained

PARITY_MOMENTS, CALIBRATION_MOMENTS = 64, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What one target gets; passed is False if only `--force` let it ship."""

    target: str
    engine: str
    user_tower: str
    ranker: str
    models_bytes: int
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What the export found; golden_left_out: cases that rounding decides (`golden.answered`)."""

    name: str
    items: int
    bundle_bytes: int
    shipped: list[Shipped]
    files: list[FileFigures]
    gates: list[GateRow]
    golden_cases: int
    golden_left_out: int


def export_bundle(
    run_dir: Path, out: Path, *, force: bool = False, all_variants: bool = False
) -> ExportReport:
    """Export a run as a bundle at `out`.

    Args:
        run_dir: a finished run; its tables give histories and popularity.
        out: the bundle folder; replaced only with `force`.
        force: also ship where no variant passes the gates; the manifest and the card say so.
        all_variants: pack also the files that no target ships, to study them.

    Raises:
        GateRefused: no variant is within a target's budgets; nothing was written.
        ConversionFailed: a model has no fp32 file.
        RunInvalid: the run is incomplete.
        InputError: `out` exists.
    """
    with BundleWriter(out, force=force) as writer:
        trained = load_trained(run_dir)
        recipe = trained.recipe
        data = load_dataset(recipe, run_dir)
        _add_content(writer, trained, data)
        last_ts = int(data.ts.max())
        facts: dict[str, Any] = {
            "name": f"{recipe.name}-{last_ts}",
            "recipe_name": recipe.name,
            "created_utc": last_ts,
        }
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        histories = golden_histories(data, recipe.export.golden_cases, recipe.seed)
        blank = golden.blank_cases(histories, trained.items.ids, last_ts)
        # Beside the bundle, so that only its own disk need have room.
        with TemporaryDirectory(dir=writer.blob_dir.parent) as scratch:
            measured = _measured(Path(scratch), trained, data, draft)
            choices = _chosen(measured, PairQuality(draft, measured, trained, data, blank), recipe)
        refused = [choice.target for choice in choices if not choice.passed]
        if refused and not force:
            raise GateRefused(
                f"no variant is within the budgets of {', '.join(refused)}:\n"
                f"{gates.table(choices)}\n"
                "Train longer, widen export.targets in the recipe, or ship anyway with --force."
            )
        _add_models(writer, measured, choices, all_variants)
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        answered = golden.answered(draft, blank, force=force)
        golden.add(writer, answered)
        report = ExportReport(
            name=facts["name"],
            items=len(trained.items),
            bundle_bytes=sum({e.sha256: e.bytes for e in writer.manifest(**facts).files}.values()),
            shipped=[_shipped(choice) for choice in choices],
            files=[m.figures for m in measured],
            gates=[row for choice in choices for row in choice.rows],
            golden_cases=len(answered.golden.cases),
            golden_left_out=answered.left_out,
        )
        for name, text in card.render(report, run_dir).items():
            writer.add(name, text, "card")
        writer.finish(**facts)
    return report


def _chosen(measured: Sequence[Measured], quality: PairQuality, recipe: Recipe) -> list[Choice]:
    files = [m.figures for m in measured]
    targets = recipe.export.targets
    return [
        gates.choose(name, targets[name], files, quality)
        for name in gates.TARGETS
        if name in targets
    ]


def _add_content(writer: BundleWriter, trained: Trained, data: Dataset) -> None:
    """Add all that is neither a model nor an answer of one."""
    spec, recipe = trained.spec, trained.recipe
    index = build_index(trained.item_vectors, trained.items.ids, recipe.index.cells, recipe.seed)
    available = np.ones(len(trained.items), np.bool_)
    popularity = release_popularity(spec, data)
    add_items(writer, spec, trained.items, index, popularity, available, trained.neighbours)
    writer.add("feature_spec.json", canonical_json(spec.to_json()), "json")
    writer.add("policy.json", canonical_json(_policy(recipe).to_json()), "json")


def _policy(recipe: Recipe) -> Policy:
    return Policy(
        slate=recipe.rerank.slate,
        category_cap=recipe.rerank.category_cap,
        near_duplicate_cosine=recipe.rerank.near_duplicate_cosine,
        probes=recipe.index.probes,
        candidates=recipe.ranker.candidates,
        repeats=recipe.rerank.repeats,
    )


def _measured(scratch: Path, trained: Trained, data: Dataset, draft: Bundle) -> list[Measured]:
    """Convert both models to every variant and measure each file; fp32 is always among them."""
    recipe, spec = trained.recipe, trained.spec
    real = probe(trained, data, whole_histories(data, PARITY_MOMENTS, recipe.seed))
    variants = tuple(dict.fromkeys((gates.EXACT, *recipe.export.variants)))
    parts = {
        "user_tower": (trained.user_tower, tower_signature(spec)),
        "ranker": (trained.ranker, ranker_signature(spec)),
    }
    matrix, scales = draft.array("index/rows"), draft.scales[np.arange(draft.item_count)]

    def scores(inputs: Inputs, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        if "item_vectors" in inputs:
            return ranked(inputs, answer, spec.head_weights)
        found: NDArray[np.float32] = (matrix @ answer[0]) * scales
        return found

    found: list[Measured] = []
    with Progress("export", len(parts)) as bar:
        for done, (model, (layers, signature)) in enumerate(parts.items(), 1):
            truth = Truth(model, layers, signature, real.of(model))
            for made in convert(layers, signature, variants):
                path = scratch / f"{model}.{made.engine}.{made.variant}"
                path.write_bytes(made.data)
                found.append(measure(made, path, truth, scores))
            bar.advance(done, model)
    return found


def _add_models(
    writer: BundleWriter, measured: Sequence[Measured], choices: Sequence[Choice], every: bool
) -> None:
    """Add what the targets ship, or everything; the first target of an engine sets its default."""
    targets = gates.targets_of(choices)
    first: dict[str, Choice] = {}
    for choice in choices:
        first.setdefault(choice.engine, choice)
    forced = {choice.target for choice in choices if not choice.passed}
    for one in measured:
        figures, made = one.figures, one.made
        mine = targets.get((figures.model, made.engine, made.variant), [])
        if not mine and not every:
            continue
        meta: dict[str, str | int | float] = {
            "model": figures.model,
            "engine": made.engine,
            "variant": made.variant,
            "min_runtime": made.min_runtime,
            "max_abs_error": figures.max_error,
        }
        if mine:
            meta["targets"] = ",".join(mine)
            meta["default"] = int(first[made.engine].target in mine)
        if forced & {*mine}:
            meta["forced"] = 1
        name = f"models/{figures.model}.{made.engine}.{made.variant}"
        writer.add(name, made.data, "model", **meta)


def _shipped(choice: Choice) -> Shipped:
    return Shipped(
        target=choice.target,
        engine=choice.engine,
        user_tower=choice.tower.variant,
        ranker=choice.ranker.variant,
        models_bytes=choice.tower.bytes + choice.ranker.bytes,
        passed=choice.passed,
    )
