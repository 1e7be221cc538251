"""Build a release from a finished run: convert, measure, choose, pack; atomically."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import check_free
from pocketrec_bundle.errors import InputError
from pocketrec_bundle.manifest import Meta
from pocketrec_bundle.products import inner
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.release_name import check_release_name
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.releases.parity import Inputs, ranked
from pocketrec_export import card
from pocketrec_export.draft import add_content
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.gates import choose as gates
from pocketrec_export.gates.checks import Measures
from pocketrec_export.gates.choose import Choice
from pocketrec_export.gates.gain_gate import checked_gain
from pocketrec_export.gates.inputs import (
    calibration_probe,
    golden_histories,
    probe,
    whole_histories,
)
from pocketrec_export.gates.measure import FileFigures, MeasuredModel, Truth, measure
from pocketrec_export.gates.quality import PairQuality
from pocketrec_export.gates.rows import remedies, table
from pocketrec_export.gates.two_fits import quality_of_two_fits
from pocketrec_export.golden import answers as golden
from pocketrec_export.models.convert import (
    ConvertedModel,
    attempt,
    ort_twin,
    ranker_signature,
    tower_signature,
)
from pocketrec_export.reference import reference
from pocketrec_export.report import ExportReport, ShippedVariant
from pocketrec_training.data.dataset import Dataset, load_dataset
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import Fit, RunFolder
from pocketrec_training.trained import TrainedRun, load_trained

PARITY_MOMENTS = 64


def export_bundle(
    *,
    run: Path,
    out: Path,
    force: bool = False,
    all_variants: bool = False,
    campaigns: Path | None = None,
    name: str | None = None,
    fit: Fit | None = None,
) -> ExportReport:
    """Export a run as a bundle at `out`.

    Args:
        run: a finished run, which also holds its tables.
        out: the bundle folder; replaced only with `force`.
        force: export even if no variant passes the gates; the manifest and the card then say so.
        all_variants: also pack model files that no target uses, for study.
        campaigns: file of the items for the recipe's sponsored places, see
            `pocketrec_export.campaigns`.
        name: name of the release; None: the recipe's name and the time of the newest event.
        fit: of the run, to export; None: the final fit if the run has one. Its losses in the gates
            are those of the evaluation fit, because it has seen the validation events.

    Raises:
        GateRefusedError: no variant is within a target's limits, or `export.require_gain` refuses.
            Nothing was written.
        ConversionFailedError: a model cannot be converted to fp32.
        RunInvalidError: the run is incomplete, or has no final fit and `fit` asks for it.
        InputError: `out` exists, the run has objectives or a formula, or the name or the campaigns
            are invalid.

    Example:
        >>> report = export_bundle(run=Path("run"), out=Path("release"), name="shop-1")
        >>> report.name, report.items
        ('shop-1', 30)
    """
    check_free(out, force=force)
    named = None if name is None else check_release_name(name)
    fit = fit or RunFolder(run).shipped
    evaluation = load_trained(run)
    recipe = evaluation.recipe
    if evaluation.objectives is not None:
        raise InputError(
            f"{run}: the run has objectives or a formula, which need bundle format 3, and this "
            "version writes formats 1 and 2. Evaluate the run, or train without [[objectives]] and "
            "ranker.formula to export."
        )
    told = checked_gain(recipe, run, force=force)
    version = recipe.export.format_version
    with BundleWriter(out, force=force, format_version=version) as writer:
        log = load_dataset(recipe, run)
        fitted = load_trained(run, fit=fit) if fit == "final" else evaluation
        trained, data = fitted.as_released(log)
        add_content(writer, trained, data, campaigns)
        last_ts = int(data.ts.max())
        facts: dict[str, Any] = {
            "name": named or f"{recipe.name}-{last_ts}",
            "recipe_name": recipe.name,
            "created_utc": last_ts,
        }
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        histories = golden_histories(data, recipe.export.golden_cases, recipe.seed)
        blank = golden.blank_cases(histories, trained.items.ids, last_ts)
        # Beside the bundle, so that only its own disk need have room.
        with TemporaryDirectory(dir=writer.blob_dir.parent) as scratch:
            measured, unmade = _measured(Path(scratch), trained, data, draft)
            files = [*(m.figures for m in measured), *unmade]
            quality: Measures = PairQuality(draft, measured, trained, log, blank)
            if data is not log:
                quality = quality_of_two_fits(quality, Path(scratch), evaluation, log)
            choices = _chosen(files, quality, recipe)
        refused = [choice.target for choice in choices if not choice.passed]
        if refused and not force:
            raise GateRefusedError(_refusal(choices))
        _add_models(
            writer,
            measured,
            choices,
            every=all_variants,
            ort_format=recipe.export.ort_format,
            ended=_ended(run, fit),
        )
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        answered = golden.answered(draft, blank, force=force)
        golden.add(writer, answered)
        report = ExportReport(
            name=facts["name"],
            items=len(trained.items),
            bundle_bytes=writer.manifest(**facts).total_bytes(),
            shipped=[ShippedVariant.of(choice) for choice in choices],
            files=files,
            gates=[row for choice in choices for row in choice.rows],
            golden_cases=len(answered.golden.cases),
            golden_left_out=answered.left_out,
            golden_unmade=list(answered.edges.unmade),
            baseline_gain=told,
            fit=fit,
        )
        learned = reference(draft, data, recipe.seed)
        for name, text in card.render(report, run, learned).items():
            writer.add(name, text, "card")
        writer.finish(**facts)
    return report


def _refusal(choices: Sequence[Choice]) -> str:
    refused = [choice for choice in choices if not choice.passed]
    rows = [row for choice in refused for row in choice.rows if not row.passed]
    return (
        f"no variant is within the budgets of {', '.join(c.target for c in refused)}:\n"
        f"{table(rows)}\n"
        f"What to do, by recipe key:\n{remedies(rows)}\n"
        "Or train longer, or ship the fp32 files anyway with --force."
    )


def _chosen(files: Sequence[FileFigures], quality: Measures, recipe: Recipe) -> list[Choice]:
    targets = recipe.export.targets
    return [
        gates.choose(name, targets[name], files, quality)
        for name in gates.TARGETS
        if name in targets
    ]


def _measured(
    scratch: Path, trained: TrainedRun, data: Dataset, draft: Bundle
) -> tuple[list[MeasuredModel], list[FileFigures]]:
    """Convert both models to every variant and measure each file; fp32 is always among them.

    Returns:
        The files, and those that could not be made, with the reason.
    """
    recipe, spec = trained.recipe, trained.spec
    real = probe(trained, data, whole_histories(data, PARITY_MOMENTS, recipe.seed))
    log = calibration_probe(trained, data)
    variants = tuple(dict.fromkeys((gates.EXACT, *recipe.export.variants)))
    parts = {
        "user_tower": (trained.user_tower, tower_signature(spec)),
        "ranker": (trained.ranker, ranker_signature(spec)),
    }
    matrix, scales = draft.array("index/rows"), draft.scales[np.arange(draft.item_count)]

    def scores(inputs: Inputs, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        if "item_vectors" in inputs:
            return ranked(spec, trained.objectives, inputs, answer)
        found: NDArray[np.float32] = inner(matrix, answer[0]) * scales
        return found

    found: list[MeasuredModel] = []
    unmade: list[FileFigures] = []
    with Progress("export", len(parts)) as bar:
        for done, (model, (layers, signature)) in enumerate(parts.items(), 1):
            truth = Truth(model, layers, signature, real.of(model))
            made, failed = attempt(layers, signature, variants, log.of(model))
            for one in made:
                path = scratch / f"{model}.{one.engine}.{one.variant}"
                path.write_bytes(one.data)
                found.append(measure(one, path, truth, scores))
            unmade += [
                FileFigures(
                    model=model,
                    engine=one.engine,
                    variant=one.variant,
                    bytes=0,
                    min_runtime="",
                    note=one.reason,
                )
                for one in failed
            ]
            bar.advance(done, model)
    return found, unmade


def _add_models(
    writer: BundleWriter,
    measured: Sequence[MeasuredModel],
    choices: Sequence[Choice],
    *,
    every: bool,
    ort_format: bool,
    ended: dict[str, Meta],
) -> None:
    """Add what the targets ship, or all that runs; an engine's first target sets its default.

    ended: facts about the training of each model.
    """
    targets = gates.targets_of(choices)
    first: dict[str, Choice] = {}
    for choice in choices:
        first.setdefault(choice.engine, choice)
    forced = {choice.target for choice in choices if not choice.passed}
    for one in measured:
        figures, made = one.figures, one.made
        mine = targets.get((figures.model, made.engine, made.variant), [])
        if not mine and (figures.note or not every):
            continue
        facts: Meta = {"max_abs_error": figures.max_error, **ended[figures.model]}
        if mine:
            facts["targets"] = ",".join(mine)
            facts["default"] = int(first[made.engine].target in mine)
        if forced & {*mine}:
            facts["forced"] = 1
        _add_file(writer, figures.model, made, facts)
        if ort_format and mine and made.engine == "onnx":
            _add_file(writer, figures.model, ort_twin(made), facts)


def _ended(run_dir: Path, fit: Fit) -> dict[str, Meta]:
    """Return by model its fit and what ended its training; runs of 0.1.0 have only the fit."""
    report = RunFolder(run_dir).read_report()
    last = RunFolder(run_dir).of(fit).read_report()
    keys = {"user_tower": "retrieval_stopped_by", "ranker": "ranker_stopped_by"}
    return {
        model: {"fit": fit}
        | (
            {"stopped_by": last.get(key, report[key]), "reproducible": int(last["reproducible"])}
            if key in report
            else {}
        )
        for model, key in keys.items()
    }


def _add_file(writer: BundleWriter, model: str, made: ConvertedModel, facts: Meta) -> None:
    meta: Meta = {
        "model": model,
        "engine": made.engine,
        "variant": made.variant,
        "min_runtime": made.min_runtime,
        **facts,
        **{f"operator.{name}": version for name, version in made.operators.items()},
    }
    writer.add(f"models/{model}.{made.engine}.{made.variant}", made.data, "model", **meta)
