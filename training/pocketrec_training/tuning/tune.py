"""Hyper-parameter search with Optuna, resumable, on validation NDCG@10 alone (`pocketrec tune`).

Test events are removed from the data before training, so no trial can use them. Only one process
may use a study: a trial in the state "running" belongs to a killed call and runs again.
"""

import csv
import hashlib
import io
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import TEST, Dataset, load_dataset
from pocketrec_training.data.features.columns import feature_spec
from pocketrec_training.data.splits.check import check_split
from pocketrec_training.errors import RecipeInvalidError, RunInvalidError, TrainingDivergedError
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.recipe.load import recipe_json
from pocketrec_training.recipe.schema import Recipe, TuneConfig
from pocketrec_training.recipe.toml import recipe_toml
from pocketrec_training.towers.fit import fit_towers
from pocketrec_training.tuning.search_space import check_space, suggest, with_values

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """The study so far.

    Attributes:
        trials: best first; number, state, ndcg10, epochs, seconds, stopped_by ("epochs",
            "patience", "minutes", or "" if it did not complete) and values of each.
    """

    study: str
    trials: list[dict[str, Any]]
    best_ndcg10: float
    best_values: dict[str, Any]
    best_recipe: str
    table: str


class _PausedError(Exception):
    """The call's time is over; the trial's checkpoint stays for the next call."""


def tune(
    recipe: Recipe,
    data_dir: Path,
    study_file: Path,
    *,
    trials: int,
    minutes: float | None = None,
    where: str = "recipe",
) -> TuneReport:
    """Search until the study has `trials` finished trials or the time is over. Resumable.

    Each trial trains the two towers only, with the recipe's seed, for at most
    `tune.trial_minutes` if that is set. A trial stops early if its curve is below the median of
    the others. The call also writes `.best.toml`, a recipe to train, and `.trials.csv` beside
    `study_file` (SQLite).

    Args:
        recipe: the start; its `[tune]` section is the search space.
        data_dir: folder that `pocketrec data` wrote.
        study_file: made, or gone on with.
        trials: finished trials in all, those of earlier calls included.
        minutes: wall-clock time of this call; a trial cut short goes on in the next call.
        where: begins the text of errors, the recipe's path.

    Raises:
        RecipeInvalidError: the search space is empty or wrong, or the recipe does not fit the
            items.
        RunInvalidError: the file is not a study or belongs to another recipe or other data; no
            trial could finish; or the split leaves no cases.
        TableInvalidError: the tables are missing.
    """
    check_space(recipe.tune.space, where)
    whole = load_dataset(recipe, data_dir)
    check_split(recipe, whole, str(data_dir))
    feature_spec(recipe, whole.items)  # what every trial would be refused for
    data = without_test(whole)
    ends = None if minutes is None else time.monotonic() + minutes * 60
    study = _open(study_file, _claim(recipe, data_dir))
    work = study_file.parent / f".{study_file.name}.work"
    with Progress("tune", trials) as bar:
        while (done := _n_done(study)) < trials and (ends is None or time.monotonic() < ends):
            bar.advance(done, _note(study))
            # Seeded by what is finished, not by the trial's number: a study that was killed and
            # gone on with draws the same values as one that was not.
            study.sampler = optuna.samplers.TPESampler(
                seed=(recipe.seed * 100_003 + done) % 2**32,
                n_startup_trials=recipe.tune.startup_trials,
            )
            trial = study.ask()
            try:
                _run(recipe, data, study, trial, work, ends)
            except _PausedError:
                break
        bar.advance(_n_done(study), _note(study))
    return _report(recipe, study, study_file)


def without_test(data: Dataset) -> Dataset:
    """Return the data set without its test events."""
    keep = data.fold != TEST
    counts = np.add.reduceat(keep.astype(np.int64), data.offsets[:-1])
    return replace(
        data,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        rows=data.rows[keep],
        events=data.events[keep],
        ts=data.ts[keep],
        fold=data.fold[keep],
    )


def _run(
    recipe: Recipe,
    data: Dataset,
    study: optuna.Study,
    trial: Trial,
    work: Path,
    ends: float | None,
) -> None:
    """Train one trial and tell the study; raises _PausedError where the time is over."""
    values = suggest(trial, recipe.tune.space)
    try:
        chosen = with_values(recipe, values)
        spec = feature_spec(chosen, data.items)
    except RecipeInvalidError as err:
        trial.set_user_attr("refused", str(err))
        study.tell(trial, state=TrialState.PRUNED)
        return
    # Named by what is trained: a trial done again after a kill finds its own checkpoint.
    digest = hashlib.sha256(recipe_json(replace(chosen, tune=TuneConfig()))).hexdigest()
    checkpoint = work / f"{digest[:16]}.npz"
    started = time.monotonic()

    # The checkpoint goes on after these, and the pruner compares a trial's best epoch so far.
    for epoch, value in trial.user_attrs.get("curve", {}).items():
        trial.report(value, int(epoch))

    def watch(epoch: int, point: dict[str, float]) -> None:
        trial.report(point["ndcg10"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
        if ends is not None and time.monotonic() > ends:
            raise _PausedError

    keras.utils.clear_session()  # else the graphs of all trials would stay in memory
    keras.utils.set_random_seed(recipe.seed)
    try:
        fitted = fit_towers(
            chosen, spec, data, checkpoint, recipe.tune.trial_minutes, on_epoch=watch
        )
    except optuna.TrialPruned:
        trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
        study.tell(trial, state=TrialState.PRUNED)
    except TrainingDivergedError as err:
        trial.set_user_attr("refused", str(err))
        study.tell(trial, state=TrialState.PRUNED)
    else:
        trial.set_user_attr("stopped_by", fitted.stopped_by)
        trial.set_user_attr("seconds", round(fitted.seconds, 1))
        study.tell(trial, max(point["ndcg10"] for point in fitted.curve))
    checkpoint.unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _open(path: Path, claim: str) -> optuna.Study:
    """Make or load the study, and queue again what a killed call left running."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.resolve()}",
            study_name="pocketrec",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        )
        found = study.user_attrs.setdefault("claim", claim)
        study.set_user_attr("claim", found)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            curve = {str(epoch): value for epoch, value in trial.intermediate_values.items()}
            study.enqueue_trial(trial.params, user_attrs={"curve": curve})
    except SQLAlchemyError as err:
        raise RunInvalidError(f"{path}: not an Optuna study in SQLite ({err}).") from err
    if found != claim:
        raise RunInvalidError(
            f"{path}: a study of another recipe, search space or data. Name a new --study, or go "
            "on with what it began with."
        )
    return study


def _claim(recipe: Recipe, data_dir: Path) -> str:
    report = data_dir / col.REPORT_FILE
    data = report.read_bytes() if report.is_file() else b""
    return hashlib.sha256(recipe_json(recipe) + data).hexdigest()


def _n_done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=DONE))


def _note(study: optuna.Study) -> str:
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return f"best NDCG@10 {study.best_value:.4f}" if finished else ""


def _report(recipe: Recipe, study: optuna.Study, path: Path) -> TuneReport:
    finished = study.get_trials(states=DONE)
    if not any(trial.state == TrialState.COMPLETE for trial in finished):
        raise RunInvalidError(
            f"{path}: no trial has finished yet. Run the same command again with more --minutes; "
            "it goes on where it stopped."
        )
    rows = [_row(trial) for trial in finished]
    rows.sort(key=lambda row: (row["state"] != "complete", -row["ndcg10"], row["number"]))
    best = study.best_trial
    cap = recipe.tune.trial_minutes
    comment = (
        f"Found by `pocketrec tune`: validation NDCG@10 {study.best_value:.4f}, best of "
        f"{len(rows)} trials{f' of up to {cap:g} minutes' if cap else ''}."
    )
    recipe_path, table_path = path.with_suffix(".best.toml"), path.with_suffix(".trials.csv")
    write_atomic(recipe_path, recipe_toml(with_values(recipe, best.params), comment).encode())
    write_atomic(table_path, _csv(rows, list(recipe.tune.space)).encode())
    return TuneReport(
        study=str(path),
        trials=rows,
        best_ndcg10=study.best_value,
        best_values=dict(best.params),
        best_recipe=str(recipe_path),
        table=str(table_path),
    )


def _row(trial: FrozenTrial) -> dict[str, Any]:
    curve = trial.intermediate_values
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        # An epoch that ended just before a kill may be in the trial's value only.
        "ndcg10": max(curve.values(), default=0.0) if trial.value is None else trial.value,
        "epochs": max(curve, default=-1) + 1,
        "seconds": trial.user_attrs.get("seconds", 0.0),
        "stopped_by": trial.user_attrs.get("stopped_by", ""),
        "values": dict(trial.params),
    }


def _csv(rows: list[dict[str, Any]], keys: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["number", "state", "ndcg10", "epochs", "seconds", "stopped_by"]
    writer.writerow([*names, *keys])
    for row in rows:
        values = [json.dumps(row["values"][key]) for key in keys]
        writer.writerow([*(row[name] for name in names), *values])
    return text.getvalue()
