"""The gates of a fit that learned from the validation events, so it has no losses on them.

Losses are those of the evaluation fit, converted in the same way: the fits have one recipe, one
architecture and one conversion.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.writer import BundleWriter
from pocketrec_edge.engines.select import open_engine
from pocketrec_export.draft import add_content, release_version
from pocketrec_export.gates.checks import Losses, Measures
from pocketrec_export.gates.inputs import calibration_probe
from pocketrec_export.gates.losses import Estimate
from pocketrec_export.gates.measure import FileFigures, MeasuredModel
from pocketrec_export.gates.quality import FileKey, PairQuality
from pocketrec_export.models.convert import Converter, ranker_signature, tower_signature
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.trained import TrainedRun


class TwoFits:
    """Measures of a release: slates and times are its own, losses the evaluation fit's."""

    def __init__(self, release: Measures, make_evaluation: Callable[[], Measures]) -> None:
        """Keep both; the second is made when the first loss is asked for."""
        self._release, self._make_evaluation = release, make_evaluation

    @cached_property
    def _evaluation(self) -> Measures:
        return self._make_evaluation()

    @property
    def skips_cells(self) -> bool:
        """Whether a search skips cells of the item index."""
        return self._release.skips_cells

    def latency(self, file: FileFigures) -> Estimate:
        """Return a file's time over that of its fp32 file, of the release."""
        return self._release.latency(file)

    def slate_overlap(self, tower: FileFigures, ranker: FileFigures) -> float:
        """Return the share of the release's exact golden slates that a pair shows too."""
        return self._release.slate_overlap(tower, ranker)

    def index_slate_overlap(self) -> float:
        """Return the share that the final fit's exact models show through the item index."""
        return self._release.index_slate_overlap()

    def losses(self, tower: FileFigures, ranker: FileFigures) -> Losses | None:
        """Return the evaluation fit's losses with files of the same variants."""
        return self._evaluation.losses(tower, ranker)

    def index_losses(self) -> Losses:
        """Return the losses of the evaluation fit's exact models with its item index."""
        return self._evaluation.index_losses()


def quality_of_two_fits(
    release: Measures,
    scratch: Path,
    evaluation: TrainedRun,
    data: Dataset,
) -> Measures:
    """Return a release's measures with the losses of the evaluation fit.

    Args:
        release: measures of the files that ship.
        scratch: folder for the evaluation fit's files.
        evaluation: of the same run.
        data: with the folds of the evaluation fit.
    """

    def make() -> Measures:
        version = release_version(evaluation)
        writer = BundleWriter(scratch / "evaluation", format_version=version)
        add_content(writer, evaluation, data, None)
        facts: dict[str, Any] = {
            "name": "evaluation",
            "recipe_name": evaluation.recipe.name,
            "created_utc": 0,
        }
        draft = Bundle(writer.manifest(**facts), writer.blob_dir)
        models = _OnDemand(scratch, evaluation, data)
        return PairQuality(draft, models, evaluation, data, [])

    return TwoFits(release, make)


class _OnDemand(dict[FileKey, MeasuredModel]):
    """Files of a fit, each converted when it is first asked for."""

    def __init__(self, scratch: Path, trained: TrainedRun, data: Dataset) -> None:
        super().__init__()
        self._scratch, log = scratch, calibration_probe(trained, data)
        self._converters = {
            model: Converter(layers, signature, log.of(model))
            for model, layers, signature in (
                ("user_tower", trained.user_tower, tower_signature(trained.spec)),
                ("ranker", trained.ranker, ranker_signature(trained.spec, trained.typed)),
            )
        }

    def __missing__(self, key: FileKey) -> MeasuredModel:
        model, engine, variant = key
        made = self._converters[model].convert(engine, variant)
        path = self._scratch / f"evaluation.{model}.{engine}.{variant}"
        path.write_bytes(made.data)
        figures = FileFigures(
            model=model, engine=engine, variant=variant, bytes=len(made.data), min_runtime=""
        )
        self[key] = MeasuredModel(
            made=made, figures=figures, engine=open_engine(path, engine), inputs={}
        )
        return self[key]
