"""Measure every converted file in its own runtime on this machine, against Keras."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.engines.select import Engine, open_engine
from pocketrec_edge.errors import EngineError
from pocketrec_edge.releases.parity import Inputs, compare_outputs, cosine, hard_inputs, median_ms
from pocketrec_export.gates.losses import Estimate
from pocketrec_export.models.convert import ConvertedModel
from pocketrec_export.models.freeze import ModelSignature, as_function, run_keras

ROUNDS, RUNS_A_ROUND = 5, 20

Scores = Callable[[Inputs, NDArray[np.float32]], NDArray[np.float32]]
"""What an answer to some inputs makes of each item or candidate, float32 [n]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFigures:
    """One model file beside Keras on real inputs, see `ParityMetrics`, and on hard ones.

    Attributes:
        hard_error: largest absolute error on `hard_inputs`.
        hard_cosine: smallest cosine on `hard_inputs`.
        ms: median of one run, one thread; gates measure the time again, see `latency`.
        note: why the file cannot ship for any target, else "".
    """

    model: str
    engine: str
    variant: str
    bytes: int
    min_runtime: str
    max_error: float = 0.0
    mean_error: float = 0.0
    cosine: float = 0.0
    overlap: float = 0.0
    rank_correlation: float = 0.0
    hard_error: float = 0.0
    hard_cosine: float = 0.0
    ms: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """A converted file where it lies on this machine, loaded, with its figures.

    inputs: real ones, to time it on.
    """

    made: ConvertedModel
    figures: FileFigures
    engine: Engine | None
    inputs: Inputs


class Truth:
    """Outputs of Keras for real and hard inputs of one model; computed once."""

    def __init__(
        self, model: str, layers: keras.Model, signature: ModelSignature, inputs: Sequence[Inputs]
    ) -> None:
        """Run the model on the inputs; the hard ones are made from the last of them."""
        self.model, self.inputs = model, inputs
        self.hard = hard_inputs(model, inputs[-1])
        function = as_function(layers, signature)
        self.answers = [run_keras(function, one) for one in inputs]
        self.hard_answers = {name: run_keras(function, one) for name, one in self.hard.items()}


def measure(made: ConvertedModel, path: Path, truth: Truth, scores: Scores) -> MeasuredModel:
    """Run one file; one that does not load, run or stay finite gets a note instead of figures.

    Args:
        made: the file.
        path: where its bytes lie.
        truth: of its model.
        scores: see `Scores`.
    """
    facts: dict[str, Any] = {
        "model": truth.model,
        "engine": made.engine,
        "variant": made.variant,
        "bytes": len(made.data),
        "min_runtime": made.min_runtime,
    }
    timed = truth.inputs[-1]

    def refused(note: str) -> MeasuredModel:
        figures = FileFigures(**facts, note=note)
        return MeasuredModel(made=made, figures=figures, engine=None, inputs=timed)

    try:
        engine = open_engine(path, made.engine)
        answers = [engine.run(one) for one in truth.inputs]
        hard = {name: engine.run(one) for name, one in truth.hard.items()}
    except EngineError as err:
        return refused(str(err))
    broken = [name for name, answer in hard.items() if not np.isfinite(answer).all()]
    if not all(np.isfinite(answer).all() for answer in answers):
        broken.append("real histories")
    if broken:
        return refused(f"not finite on: {', '.join(broken)}")
    pairs = [
        (scores(one, a), scores(one, b))
        for one, a, b in zip(truth.inputs, answers, truth.answers, strict=True)
    ]
    figures = FileFigures(
        **facts,
        **asdict(compare_outputs(truth.model, answers, truth.answers, pairs)),
        hard_error=max(
            float(np.abs(hard[name] - wanted).max()) for name, wanted in truth.hard_answers.items()
        ),
        hard_cosine=min(cosine(hard[name], wanted) for name, wanted in truth.hard_answers.items()),
        ms=median_ms(engine, timed),
    )
    return MeasuredModel(made=made, figures=figures, engine=engine, inputs=timed)


def latency(engine: Engine, exact: Engine, inputs: Inputs) -> Estimate:
    """Return the time of one run over that of the exact file; low and high: of the rounds.

    Both files run in turns. A round's figure is the ratio of the shortest runs, because another
    process only makes runs longer.
    """
    ratios = []
    for _ in range(ROUNDS):
        times = [(_seconds(engine, inputs), _seconds(exact, inputs)) for _ in range(RUNS_A_ROUND)]
        ratios.append(min(a for a, _ in times) / max(min(b for _, b in times), 1e-9))
    return Estimate(value=float(np.median(ratios)), low=min(ratios), high=max(ratios))


def _seconds(engine: Engine, inputs: Inputs) -> float:
    start = time.perf_counter()
    engine.run(inputs)
    return time.perf_counter() - start
