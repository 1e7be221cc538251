"""Convert the models of a run and measure each file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.products import inner
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.engines.select import MODELS
from pocketrec_edge.releases.parity import Inputs, ranked
from pocketrec_export.gates.choose import EXACT
from pocketrec_export.gates.inputs import calibration_probe, probe, whole_histories
from pocketrec_export.gates.measure import FileFigures, MeasuredModel, Truth, measure
from pocketrec_export.models.convert import attempt, ranker_signature, tower_signature
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.trained import TrainedRun

PARITY_MOMENTS = 64


def convert_and_measure(
    scratch: Path,
    trained: TrainedRun,
    data: Dataset,
    draft: Bundle,
    models: tuple[str, ...] = MODELS,
) -> tuple[list[MeasuredModel], list[FileFigures]]:
    """Convert models to every variant and measure each file; fp32 is always among them.

    Args:
        scratch: folder for the files.
        trained: the fit that ships.
        data: with the folds of that fit.
        draft: the release with all but its models.
        models: names of the models.

    Returns:
        The files, and those that could not be made, with the reason.
    """
    recipe, spec = trained.recipe, trained.spec
    real = probe(trained, data, whole_histories(data, PARITY_MOMENTS, recipe.seed))
    log = calibration_probe(trained, data)
    variants = tuple(dict.fromkeys((EXACT, *recipe.export.variants)))
    parts = {
        "user_tower": (trained.user_tower, tower_signature(spec)),
        "ranker": (trained.ranker, ranker_signature(spec, trained.typed)),
    }
    matrix, scales = draft.array("index/rows"), draft.scales[np.arange(draft.item_count)]

    def scores(inputs: Inputs, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        if "item_vectors" in inputs:
            return ranked(spec, trained.objectives, inputs, answer)
        found: NDArray[np.float32] = inner(matrix, answer[0]) * scales
        return found

    found: list[MeasuredModel] = []
    unmade: list[FileFigures] = []
    with Progress("export", len(models)) as bar:
        for done, model in enumerate(models, 1):
            layers, signature = parts[model]
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
