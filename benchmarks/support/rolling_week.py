"""One week of a log: the tables up to its start, and its events as cases for methods to answer."""

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np

from pocketrec_bundle.floats import Floats64
from pocketrec_bundle.units import DAY_S
from pocketrec_training.baselines import BASELINES
from pocketrec_training.baselines.tuning import block_scorer
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import TEST, TRAIN, Dataset, load_dataset
from pocketrec_training.evaluation.methods import two_stage
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases, Setting, held_out_cases
from pocketrec_training.metrics.ranks import BlockScorer, rank_targets
from pocketrec_training.recipe.schema import Recipe
from pocketrec_training.trained import TrainedRun

WEEK_S = 7 * DAY_S
K = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """A week to answer.

    Attributes:
        log: the tables' data up to its start, with the folds of the recipe.
        asked: the log and the week; the week's events are TEST, all others TRAIN.
    """

    log: Dataset
    asked: Dataset

    def cases(self, setting: Setting) -> Cases:
        """Return one case a user: the week's items, given all events before the week."""
        return held_out_cases(self.asked, TEST, setting)

    def counted(self, log: Dataset) -> Dataset:
        """Return `asked` with the folds of the log, the week as TEST."""
        fold = self.asked.fold.copy()
        fold[fold == TRAIN] = log.fold
        return replace(self.asked, fold=fold)


def cut_tables(tables: Path, start: int, folder: Path) -> tuple[Path, Path]:
    """Write the tables before `start` (unix seconds), and those with the week that follows.

    Both hold only items with an event before the week: nobody can recommend others. The second
    holds only users of the first.
    """
    before, with_week = folder / "data", folder / "asked"
    source = {name: str(tables / name) for name in (col.INTERACTIONS_FILE, col.ITEMS_FILE)}
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE every AS SELECT * FROM read_parquet(?)", [source[col.INTERACTIONS_FILE]]
        )
        for out, stop in ((before, start), (with_week, start + WEEK_S)):
            out.mkdir(parents=True, exist_ok=True)
            known = f"ts < {start}"
            connection.execute(
                f"COPY (SELECT * FROM every WHERE ts < {stop} "  # noqa: S608 (numbers and our paths)
                f"AND item_id IN (SELECT item_id FROM every WHERE {known}) "
                f"AND user_id IN (SELECT user_id FROM every WHERE {known})) "
                f"TO '{out / col.INTERACTIONS_FILE}' (FORMAT parquet)"
            )
            connection.execute(
                f"COPY (SELECT * FROM read_parquet('{source[col.ITEMS_FILE]}') "  # noqa: S608
                f"WHERE item_id IN (SELECT item_id FROM every WHERE {known})) "
                f"TO '{out / col.ITEMS_FILE}' (FORMAT parquet)"
            )
    return before, with_week


def load_week(recipe: Recipe, before: Path, with_week: Path, start: int) -> Week:
    """Load what `cut_tables` wrote."""
    log, asked = load_dataset(recipe, before), load_dataset(recipe, with_week)
    fold = np.where(asked.ts < start, np.int8(TRAIN), np.int8(TEST))
    assert asked.user_ids == log.user_ids
    assert np.array_equal(asked.rows[fold == TRAIN], log.rows)
    return Week(log=log, asked=replace(asked, fold=fold))


def of_fit(trained: TrainedRun, week: Week, setting: Setting) -> BlockScorer:
    """Return both stages of a fit as a method."""
    released, log = trained.as_released(week.log)
    seen = week.counted(log)
    return two_stage(released, seen, released.candidates(seen), setting)


def of_baseline(name: str, parameters: dict[str, dict[str, float]], week: Week) -> BlockScorer:
    """Fit a baseline on all events before the week, with given parameters of it and its parts."""
    baseline = BASELINES[name]
    parts = [BASELINES[part].fit(week.asked)(**parameters[part]) for part in baseline.parts]
    return block_scorer(week.asked, baseline.fit(week.asked, *parts)(**parameters[name]))


def answered(score: BlockScorer, week: Week, cases: Cases) -> dict[str, Floats64]:
    """Return NDCG@20 and Recall@20 of each case, float64 [n]."""
    (ranked,) = rank_targets(score, week.asked, [cases], 0)
    found = metrics.at_k(ranked.ranks, K, cases.offsets)
    return {name: found[f"{name}@{K}"] for name in ("ndcg", "recall")}
