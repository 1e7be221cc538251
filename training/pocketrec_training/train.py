"""Train one recipe from its tables to a run folder, resumable after a kill."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from pocketrec_bundle.disk.files import (
    canonical_json,
    replace_dir,
    sha256_file,
    write_atomic,
    write_failed,
)
from pocketrec_training.counted_time import StoppedBy
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import VALID, feature_spec, load_dataset
from pocketrec_training.data.split_check import (
    check_heads,
    check_split,
    tie_warning,
    tied_last_share,
)
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.experiment_log import ExperimentLog
from pocketrec_training.metrics.cases import evaluation_settings
from pocketrec_training.neighbours import fit_neighbours, save_neighbours
from pocketrec_training.ranker.candidate_lists import CandidateGenerator
from pocketrec_training.ranker.cross_fit import save_cross_fit
from pocketrec_training.ranker.fit import fit_ranker
from pocketrec_training.ranker.gain import RankerGain
from pocketrec_training.ranker.leakage import LeakCheck
from pocketrec_training.recipe.load import recipe_json
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.run_folder import MODELS, RunFolder
from pocketrec_training.stopping import cap_warning
from pocketrec_training.towers.fit import fit_towers, prepare_process
from pocketrec_training.towers.item_content import item_inputs
from pocketrec_training.towers.user_vectors import validation_ndcg
from pocketrec_training.trained import load_trained
from pocketrec_training.warm_start.align import Alignment
from pocketrec_training.warm_start.start import align_towers, check_fits, copy_weights

TOWERS_SHARE = 0.75
"""Part of `--minutes` that the two towers get where the recipe has no caps of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How training went; saved as `train_report.json`.

    Attributes:
        epochs: of the two towers that ran, out of `epochs_planned`.
        retrieval_stopped_by: "epochs" if all ran, "patience" (early stopping) or "minutes" (cap).
        valid_ndcg10: of the towers that ship, over all validation cases; `pocketrec evaluate
            --split valid` reports the same number.
        curve: loss and ndcg10 an epoch, the latter over `retrieval.validate_users` cases.
        ranker_losses: an epoch of the fit that chose `ranker_epochs`, out of
            `ranker_epochs_planned`.
        ranker_stopped_by: what ended that fit, "epochs" or "minutes".
        ranker_gain: over retrieval's order, on lists not learned from.
        reproducible: no cap cut a stage, so seed and data alone decide.
        tied_last_share: see `pocketrec_training.data.split_check`.
        leak_check: which of the ranker's features were tried with another future.
        alignment: how far items moved, after a warm start.

    Example:
        >>> from pocketrec_training.run_folder import RunFolder
        >>> report = RunFolder(Path("run")).read_report()
        >>> {"epochs", "valid_ndcg10", "ranker_gain"} <= report.keys()
        True
    """

    recipe: str
    seed: int
    epochs: int
    epochs_planned: int
    retrieval_stopped_by: StoppedBy
    valid_ndcg10: float
    curve: list[dict[str, float]]
    ranker_losses: list[float]
    ranker_epochs: int
    ranker_epochs_planned: int
    ranker_stopped_by: StoppedBy
    ranker_gain: RankerGain
    ranker_gain_sentence: str
    reproducible: bool
    tied_last_share: dict[str, float]
    retrieval_s: float
    ranker_s: float
    user_tower_parameters: int
    ranker_parameters: int
    last_ts: int
    leak_check: LeakCheck
    alignment: Alignment | None = None


def train(
    *,
    recipe: Recipe,
    data: Path,
    out: Path,
    minutes: float | None = None,
    warm_start: Path | None = None,
    logs: Sequence[ExperimentLog] = (),
    warn: Callable[[str], None] = lambda _: None,
) -> TrainReport:
    """Train both stages and write the run folder; resume an interrupted call.

    Args:
        recipe: settings of the recommender.
        data: folder that `pocketrec data` wrote.
        out: folder for the finished run. Unfinished work is beside it in `.NAME.work`.
        minutes: cap of both stages together, divided like the recipe's own caps, or 3 to 1 without
            them. None: the recipe's caps.
        warm_start: run of the previous release. Training begins with its weights, and the new item
            space is rotated onto its space at the end, so item vectors move little.
        logs: receive the curves during training.
        warn: receives a sentence before training if the split does not fit the data, and after
            training if a cap cut it short.

    Raises:
        RunInvalidError: the unfinished work beside `out` belongs to another recipe or other
            data, the run to start from does not fit the recipe, or the split leaves no cases.
        TableInvalidError: the tables are missing.
        FeatureLeakError: a ranker feature knows the future; the towers stay in the unfinished work.

    Example:
        >>> from pocketrec_training.data.ingest import build_tables
        >>> from pocketrec_training.recipe.load import load_recipe
        >>> recipe = load_recipe(Path("shop.toml"))
        >>> tables = build_tables(recipe, Path("data"), Path("tables"))
        >>> report = train(recipe=recipe, data=Path("data"), out=Path("run"))
        >>> report.recipe, report.epochs
        ('shop', 2)
    """
    return _train(recipe, data, out, minutes, warm_start, logs, warn)


def _train(
    recipe: Recipe,
    data_dir: Path,
    run_dir: Path,
    minutes: float | None,
    warm_start: Path | None,
    logs: Sequence[ExperimentLog],
    warn: Callable[[str], None],
) -> TrainReport:
    prepare_process(recipe.seed)
    data = load_dataset(recipe, data_dir)
    check_split(recipe, data, str(data_dir))
    check_heads(recipe, data, str(data_dir))
    spec = feature_spec(recipe, data.items)
    if tied := tie_warning(recipe, data):
        warn(tied)
    towers_cap, ranker_cap = _caps(recipe, minutes)
    work = run_dir.parent / f".{run_dir.name}.work"
    _claim(work, recipe, data_dir, warm_start)
    previous = None
    if warm_start is not None:
        previous = load_trained(warm_start)
        check_fits(previous, spec, data.items)

    def on_epoch(epoch: int, point: dict[str, float]) -> None:
        for log in logs:
            log.log(epoch, {f"retrieval/{name}": value for name, value in point.items()})

    checkpoint = work / "retrieval.npz"
    towers = fit_towers(
        recipe,
        spec,
        data,
        checkpoint,
        towers_cap,
        begin=copy_weights(previous, spec, data.items) if previous else None,
        on_epoch=on_epoch,
    )
    inputs = item_inputs(spec, data.items, recipe.retrieval.title_buckets)
    table = np.asarray(towers.item_tower(inputs, training=False), np.float32)
    user_tower, item_tower, alignment = towers.user_tower, towers.item_tower, None
    if previous is not None:
        aligned = align_towers(previous, spec, towers, table, data)
        user_tower, item_tower = aligned.user_tower, aligned.item_tower
        table, alignment = aligned.table, aligned.alignment
    baskets = recipe.split.kind != "leave_last"
    neighbours = fit_neighbours(recipe.neighbours, data)
    candidates = CandidateGenerator(
        spec,
        data,
        user_tower,
        table,
        neighbours=neighbours,
        repeats=recipe.rerank.repeats,
        baskets=baskets,
    )
    keras.utils.set_random_seed(recipe.seed)  # the ranker starts alike, resumed or not
    fitted = fit_ranker(recipe, spec, candidates, ranker_cap)
    for epoch, loss in enumerate(fitted.first.losses):
        for log in logs:
            log.log(epoch, {"ranker/loss": loss})
    report = TrainReport(
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=len(towers.curve),
        epochs_planned=recipe.retrieval.epochs,
        retrieval_stopped_by=towers.stopped_by,
        valid_ndcg10=validation_ndcg(
            user_tower, table, spec, data, evaluation_settings(data, VALID)[0]
        ),
        curve=towers.curve,
        ranker_losses=fitted.first.losses,
        ranker_epochs=fitted.first.epochs,
        ranker_epochs_planned=recipe.ranker.epochs,
        ranker_stopped_by=fitted.first.stopped_by,
        ranker_gain=fitted.gain,
        ranker_gain_sentence=fitted.gain.sentence(),
        reproducible="minutes" not in (towers.stopped_by, fitted.first.stopped_by),
        tied_last_share=tied_last_share(data),
        retrieval_s=round(towers.seconds, 2),
        ranker_s=round(fitted.seconds, 2),
        user_tower_parameters=user_tower.count_params(),
        ranker_parameters=fitted.ranker.count_params(),
        last_ts=int(data.ts.max()),
        leak_check=fitted.leak_check,
        alignment=alignment,
    )
    out = RunFolder(work / "run")
    shutil.rmtree(out.path, ignore_errors=True)
    try:
        out.path.mkdir()
        out.recipe.write_bytes(recipe_json(recipe))
        out.feature_spec.write_bytes(canonical_json(spec.to_json()))
        out.report.write_text(json.dumps(asdict(report), indent=2))
        for name in (col.ITEMS_FILE, col.INTERACTIONS_FILE, col.REPORT_FILE):
            if (data_dir / name).is_file():
                shutil.copyfile(data_dir / name, out.path / name)
        np.save(out.item_vectors, table)
        if neighbours is not None:
            save_neighbours(out.neighbours, neighbours)
        for name, model in zip(MODELS, (user_tower, item_tower, fitted.ranker), strict=True):
            model.save(out.model(name))
        if fitted.cross_fit is not None:
            save_cross_fit(out.path, fitted.cross_fit)
        replace_dir(out.path, run_dir)
        shutil.rmtree(work)
    except OSError as err:
        raise write_failed(run_dir, err) from err
    if cut := cap_warning(asdict(report)):
        warn(cut)
    return report


def _caps(recipe: Recipe, minutes: float | None) -> tuple[float, float]:
    """Return the caps of towers and ranker in minutes; 0 = none."""
    caps = recipe.retrieval.minutes, recipe.ranker.minutes
    if minutes is None:
        return caps
    share = caps[0] / sum(caps) if all(caps) else TOWERS_SHARE
    return share * minutes, (1.0 - share) * minutes


def _claim(work: Path, recipe: Recipe, data_dir: Path, warm_start: Path | None = None) -> None:
    """Make the work folder, or accept that of a killed try of the same recipe and data."""
    report = data_dir / col.REPORT_FILE
    mark = recipe_json(recipe) + (report.read_bytes() if report.is_file() else b"")
    if warm_start is not None:
        vectors = RunFolder(warm_start).item_vectors
        mark += sha256_file(vectors).encode() if vectors.is_file() else b""
    path = work / "claim"
    if path.is_file():
        if path.read_bytes() != mark:
            raise RunInvalidError(
                f"{work}: unfinished work of another recipe, other data or another start. Remove "
                "it, or train with the recipe, data and --warm-start it began with."
            )
        return
    shutil.rmtree(work, ignore_errors=True)  # killed while it was cleared: no one can claim that
    write_atomic(path, mark)
