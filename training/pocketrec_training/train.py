"""Train one recipe from its tables to a run folder, resumable after a kill."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from pocketrec_bundle.disk.files import replace_dir, sha256_file, write_atomic, write_failed
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.features.declared import check_features
from pocketrec_training.data.splits.cases import split_cases
from pocketrec_training.data.splits.check import (
    check_heads,
    check_split,
    no_times_told,
    tie_warning,
)
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.fits.evaluation import fit_evaluation
from pocketrec_training.fits.final import MINUTES_SHARE, fit_final
from pocketrec_training.fits.refit import MINUTES_SHARE as REFIT_SHARE
from pocketrec_training.fits.refit import fit_refit
from pocketrec_training.fits.report import TrainReport, read_report
from pocketrec_training.fits.save import save_fit, save_refit
from pocketrec_training.monitoring.experiment_log import ExperimentLog
from pocketrec_training.monitoring.stopping import cap_warning
from pocketrec_training.neighbours.choose import choose_neighbours
from pocketrec_training.ranker.objectives import fit_objectives
from pocketrec_training.recipe.load import recipe_json
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.towers.fit import prepare_process
from pocketrec_training.trained import load_trained
from pocketrec_training.warm_start.start import check_fits

TOWERS_SHARE = 0.75
"""Part of `--minutes` that the two towers get where the recipe has no caps of its own."""


def train(
    *,
    recipe: Recipe,
    data: Path,
    out: Path,
    minutes: float | None = None,
    warm_start: Path | None = None,
    final: bool = True,
    logs: Sequence[ExperimentLog] = (),
    warn: Callable[[str], None] = lambda _: None,
) -> TrainReport:
    """Train both stages in two fits and write the run folder; resume an interrupted call.

    The evaluation fit holds back validation and test events, and its figures are reported. The
    final fit learns from all events, and ships. With it comes a refit of the first on validation
    events, which answers test cases (`fits/refit.py`).

    Args:
        recipe: settings of the recommender.
        data: folder that `pocketrec data` wrote.
        out: folder for the finished run. Unfinished work is beside it in `.NAME.work`.
        minutes: cap of both stages together, divided like the recipe's own caps, or 3 to 1 without
            them. None: the recipe's caps. The final fit gets a fifth of each, the refit a
            tenth of that of the towers.
        warm_start: run of the previous release. Training begins with its weights, and the new item
            space is rotated onto its space at the end, so item vectors move little.
        final: make the final fit and the refit; without it the evaluation fit ships.
        logs: receive the curves during training.
        warn: receives a sentence before training if the split does not fit the data, and after
            training if a cap cut it short.

    Raises:
        RunInvalidError: the unfinished work beside `out` belongs to another recipe or other
            data, the run to start from does not fit the recipe, or the split leaves no cases.
        TableInvalidError: the tables are missing.
        FeatureLeakError: a ranker feature knows the future; the towers stay in the unfinished work.

    Example:
        >>> from pocketrec import build_tables, load_recipe
        >>> recipe = load_recipe(Path("shop.toml"))
        >>> tables = build_tables(recipe, Path("data"), Path("tables"))
        >>> report = train(recipe=recipe, data=Path("data"), out=Path("run"))
        >>> report.recipe, report.epochs
        ('shop', 2)
    """
    return _train(recipe, data, out, minutes, warm_start, final, logs, warn)


def _train(
    recipe: Recipe,
    data_dir: Path,
    run_dir: Path,
    minutes: float | None,
    warm_start: Path | None,
    final: bool,
    logs: Sequence[ExperimentLog],
    warn: Callable[[str], None],
) -> TrainReport:
    prepare_process(recipe.seed)
    data = load_dataset(recipe, data_dir)
    check_split(recipe, data, str(data_dir))
    check_heads(recipe, data, str(data_dir))
    check_features(recipe, data.items, str(data_dir))
    objectives, facts = fit_objectives(recipe, data, str(data_dir))
    for fact in facts:
        print(fact.sentence(), file=sys.stderr)  # noqa: T201
    settled, choice = recipe, choose_neighbours(recipe, data)
    if choice is not None:
        settled = replace(recipe, neighbours=choice.config)
    spec = feature_spec(settled, data.items)
    for name, cases in split_cases(data).items():
        print(cases.sentence(name), file=sys.stderr)  # noqa: T201
    if tied := tie_warning(recipe, data):
        warn(tied)
    if without := no_times_told(recipe.split.kind):
        warn(without)
    towers_cap, ranker_cap = _caps(recipe, minutes)
    work = run_dir.parent / f".{run_dir.name}.work"
    _claim(work, recipe, data_dir, warm_start, final=final)
    previous = None
    if warm_start is not None:
        previous = load_trained(warm_start, fit=RunFolder(warm_start).shipped)
        check_fits(previous, spec, data.items)

    part, refit_part = (MINUTES_SHARE, REFIT_SHARE) if final else (0.0, 0.0)
    run = RunFolder(work / "finished")
    if run.path.is_dir():  # a killed call came so far
        report = read_report(run.report)
    else:
        fitted = fit_evaluation(
            settled,
            spec,
            data,
            work / "retrieval.npz",
            objectives=objectives,
            facts=facts,
            caps=(towers_cap * (1.0 - part - refit_part), ranker_cap * (1.0 - part)),
            previous=previous,
            logs=logs,
        )
        told = "" if choice is None else choice.sentence()
        report = replace(fitted.report, neighbour_choice=told)
        with _writing(run_dir):
            save_fit(replace(fitted, report=report), run.path, data_dir)
    if final and not run.refit.path.is_dir():
        refit = fit_refit(
            data, run.path, report, work / "refit.npz", minutes=towers_cap * refit_part
        )
        report = replace(report, reproducible=report.reproducible and refit.whole)
        with _writing(run_dir):
            write_atomic(run.report, json.dumps(asdict(report), indent=2).encode())
            save_refit(refit.towers, refit.neighbours, run.refit.path)
    if final and not run.final.path.is_dir():
        last = fit_final(
            data, run.path, report, work / "final.npz", minutes=towers_cap * part, logs=logs
        )
        report = replace(report, final=last.report, reproducible=last.report.reproducible)
        with _writing(run_dir):
            write_atomic(run.report, json.dumps(asdict(report), indent=2).encode())
            save_fit(last, run.final.path)
    with _writing(run_dir):
        replace_dir(run.path, run_dir)
        shutil.rmtree(work)
    if cut := cap_warning(asdict(report)):
        warn(cut)
    return report


@contextmanager
def _writing(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise write_failed(run_dir, err) from err


def _caps(recipe: Recipe, minutes: float | None) -> tuple[float, float]:
    """Return the caps of towers and ranker in minutes; 0 = none."""
    caps = recipe.retrieval.minutes, recipe.ranker.minutes
    if minutes is None:
        return caps
    share = caps[0] / sum(caps) if all(caps) else TOWERS_SHARE
    return share * minutes, (1.0 - share) * minutes


def _claim(
    work: Path,
    recipe: Recipe,
    data_dir: Path,
    warm_start: Path | None = None,
    *,
    final: bool = True,
) -> None:
    """Make the work folder, or accept that of a killed try of the same recipe and data."""
    report = data_dir / col.REPORT_FILE
    mark = recipe_json(recipe) + (report.read_bytes() if report.is_file() else b"")
    if warm_start is not None:
        started = RunFolder(warm_start)
        vectors = started.of(started.shipped).item_vectors
        mark += sha256_file(vectors).encode() if vectors.is_file() else b""
    mark += b"" if final else b"no final fit"
    path = work / "claim"
    if path.is_file():
        if path.read_bytes() != mark:
            raise RunInvalidError(
                f"{work}: unfinished work of another recipe, other data or another start. Remove "
                "it, or train with the recipe, data, --warm-start and --no-final it began with."
            )
        return
    shutil.rmtree(work, ignore_errors=True)  # killed while it was cleared: no one can claim that
    write_atomic(path, mark)
