"""Add the model files that the targets ship to a release, with their meta data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketrec_bundle.manifest import Meta
from pocketrec_bundle.settings.model_sets import ARM_RANKER, file_name
from pocketrec_bundle.writer import BundleWriter
from pocketrec_export.gates import choose as gates
from pocketrec_export.gates.choose import Choice
from pocketrec_export.gates.measure import MeasuredModel
from pocketrec_export.models.convert import ConvertedModel, ort_twin
from pocketrec_training.run_folder import Fit, RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Which model files a release holds.

    Attributes:
        every: also files that no target uses, if they run.
        ort_format: also an ONNX file in ONNX Runtime's own format.
    """

    every: bool
    ort_format: bool

    def add(
        self,
        writer: BundleWriter,
        measured: Sequence[MeasuredModel],
        choices: Sequence[Choice],
        ended: Mapping[str, Meta],
        model_set: str = "",
    ) -> None:
        """Add files; an engine's first target sets its default.

        Args:
            writer: of the release.
            measured: all files.
            choices: of the targets.
            ended: facts about the training of each model, see `ended_of`.
            model_set: name of the set whose rankers these are; "": the release's own models.
        """
        targets = gates.targets_of(choices)
        first: dict[str, Choice] = {}
        for choice in choices:
            first.setdefault(choice.engine, choice)
        forced = {choice.target for choice in choices if not choice.passed}
        for one in measured:
            figures, made = one.figures, one.made
            mine = targets.get((figures.model, made.engine, made.variant), [])
            if not mine and (figures.note or not self.every):
                continue
            facts: Meta = {"max_abs_error": figures.max_error, **ended[figures.model]}
            if mine:
                facts["targets"] = ",".join(mine)
                facts["default"] = int(first[made.engine].target in mine)
            if forced & {*mine}:
                facts["forced"] = 1
            _add_file(writer, figures.model, made, facts, model_set)
            if self.ort_format and mine and made.engine == "onnx":
                _add_file(writer, figures.model, ort_twin(made), facts, model_set)


def ended_of(run_dir: Path, fit: Fit) -> dict[str, Meta]:
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


def _add_file(
    writer: BundleWriter, model: str, made: ConvertedModel, facts: Meta, model_set: str
) -> None:
    name = f"models/{model}.{made.engine}.{made.variant}"
    whose: Meta = {"model": model}
    if model_set:
        name = file_name(model_set, made.engine, made.variant)
        whose = {"model": ARM_RANKER, "set": model_set}
    meta: Meta = {
        **whose,
        "engine": made.engine,
        "variant": made.variant,
        "min_runtime": made.min_runtime,
        **facts,
        **{f"operator.{name}": version for name, version in made.operators.items()},
    }
    writer.add(name, made.data, "model", **meta)
