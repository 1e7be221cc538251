"""Build a release from a finished run: convert, measure, choose, pack; atomically."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from pocketrec_bundle.disk.files import check_free
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.release_name import check_release_name
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export import card
from pocketrec_export.draft import add_content, release_version
from pocketrec_export.errors import GateRefusedError
from pocketrec_export.gates import choose as gates
from pocketrec_export.gates.checks import Measures
from pocketrec_export.gates.choose import Choice
from pocketrec_export.gates.conversions import convert_and_measure
from pocketrec_export.gates.gain_gate import checked_gain
from pocketrec_export.gates.inputs import golden_histories
from pocketrec_export.gates.measure import FileFigures
from pocketrec_export.gates.quality import PairQuality
from pocketrec_export.gates.rows import remedies, table
from pocketrec_export.gates.two_fits import quality_of_two_fits
from pocketrec_export.golden import answers as golden
from pocketrec_export.golden.set_proofs import add_set_proofs
from pocketrec_export.model_files import ModelFiles, ended_of
from pocketrec_export.model_sets import Shared, build_sets, checked_rankers
from pocketrec_export.reference import reference
from pocketrec_export.report import ExportReport, ShippedVariant
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import Fit, RunFolder
from pocketrec_training.trained import load_trained


def export_bundle(
    *,
    run: Path,
    out: Path,
    force: bool = False,
    all_variants: bool = False,
    campaigns: Path | None = None,
    name: str | None = None,
    fit: Fit | None = None,
    rankers: Mapping[str, Path] = MappingProxyType({}),
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
        rankers: runs by the name of a model set: the release also holds their rankers, for arms of
            experiments. Their towers and items are those of `run`, see `model_sets.py`.

    Raises:
        GateRefusedError: no variant is within a target's limits, or `export.require_gain` refuses.
            Nothing was written.
        ConversionFailedError: a model cannot be converted to fp32.
        RunInvalidError: the run is incomplete, or has no final fit and `fit` asks for it.
        InputError: `out` exists, the name or the campaigns
            are invalid, a run of `rankers` differs from `run` in more than its ranker, or the
            recipe asks for a format version that cannot hold its features.

    Example:
        >>> report = export_bundle(run=Path("run"), out=Path("release"), name="shop-1")
        >>> report.name, report.items
        ('shop-1', 30)
    """
    check_free(out, force=force)
    named = None if name is None else check_release_name(name)
    fit = fit or RunFolder(run).shipped
    checked_rankers(rankers)
    evaluation = load_trained(run)
    recipe = evaluation.recipe
    told = checked_gain(recipe, run, force=force)
    version = release_version(evaluation)
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
            measured, unmade = convert_and_measure(Path(scratch), trained, data, draft)
            files = [*(m.figures for m in measured), *unmade]
            quality: Measures = PairQuality(draft, measured, trained, log, blank)
            if data is not log:
                quality = quality_of_two_fits(quality, Path(scratch), evaluation, log)
            choices = _chosen(files, quality, recipe)
            _check_gates(choices, force=force)
            shared = Shared(trained=trained, towers=measured, choices=choices, draft=draft)
            sets = build_sets(rankers, fit, Path(scratch), shared, blank)
        for built in sets:
            _check_gates(built.choices, f"model set {built.name}: ", force=force)
        chosen = ModelFiles(every=all_variants, ort_format=recipe.export.ort_format)
        chosen.add(writer, measured, choices, ended_of(run, fit))
        for built in sets:
            chosen.add(writer, built.measured, built.choices, ended_of(built.run, fit), built.name)
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        answered = golden.answered(draft, blank, force=force)
        golden.add(writer, answered)
        add_set_proofs(writer, draft, answered.golden, answered.stages)
        report = ExportReport(
            name=facts["name"],
            items=len(trained.items),
            bundle_bytes=writer.manifest(**facts).total_bytes(),
            shipped=[ShippedVariant.of(choice) for choice in choices],
            files=files,
            gates=[row for choice in choices for row in choice.rows],
            golden_cases=len(answered.golden.cases),
            golden_left_out=answered.left_out,
            golden_unmade=answered.unmade,
            baseline_gain=told,
            fit=fit,
            sets=[built.report() for built in sets],
        )
        learned = reference(draft, data, recipe.seed)
        for name, text in card.render(report, run, learned).items():
            writer.add(name, text, "card")
        writer.finish(**facts)
    return report


def _check_gates(choices: Sequence[Choice], where: str = "", *, force: bool) -> None:
    if not force and not all(choice.passed for choice in choices):
        raise GateRefusedError(f"{where}{_refusal(choices)}")


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
