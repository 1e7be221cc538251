"""What an evaluation asks: the run, its data, the held-out cases, and the baselines to compare."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pocketrec_training.baselines import BASELINES, Baseline
from pocketrec_training.data.dataset import TEST, VALID, Dataset, load_dataset
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.evaluation.same_data import check_same_data
from pocketrec_training.evaluation.selection import chosen_baselines, sampled
from pocketrec_training.metrics.cases import Cases, evaluation_settings, held_out_cases, some
from pocketrec_training.ranker.cross_fit import CrossFit, load_cross_fit
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.trained import TrainedRun, load_trained

TUNING_CASES = 1_000
"""Validation cases that baselines are tuned on, drawn where there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One evaluation's input.

    Attributes:
        trained, training: the run and its report of the training.
        data: its sequences.
        split, fold: whose events are measured.
        settings: the cases, by setting; a sample if fewer `users` than there are were asked for.
        of_users: users with cases before sampling.
        newcomers: cases of users without any history, if the split leaves some.
        valid: validation cases of each setting, to tune baselines on.
        tuned: the baselines to tune; `reported`: those to compare, without mere parts of hybrids.
        all_methods: whether no baseline was left out by choice.
        cross_fit: rankers that did not learn from the validation events, if the run has them.
    """

    trained: TrainedRun
    training: Mapping[str, Any]
    data: Dataset
    split: str
    fold: int
    settings: list[Cases]
    of_users: int
    newcomers: Cases | None
    valid: list[Cases]
    tuned: Mapping[str, Baseline]
    reported: Collection[str]
    all_methods: bool
    cross_fit: CrossFit | None

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.trained.recipe.seed

    def answering(self) -> tuple[TrainedRun, Dataset]:
        """Return the fit that answers and the data that it counts: on test, the refit if any."""
        if self.fold == VALID:
            return self.trained, self.data
        return self.trained.as_released(self.data)

    @property
    def unseen(self) -> CrossFit | None:
        """The rankers that answer instead of the one that ships, which saw these events."""
        return self.cross_fit if self.fold == VALID else None

    @property
    def users(self) -> int:
        """Number of users with cases."""
        return _users(self.settings)


def read_question(
    run: Path,
    data_dir: Path,
    split: Literal["test", "valid"],
    methods: Sequence[str] | None,
    users: int,
) -> Question:
    """Load and check all that an evaluation needs; see `evaluate` for arguments and errors."""
    tuned, reported = chosen_baselines(methods, BASELINES)
    trained = load_trained(run)
    data = load_dataset(trained.recipe, data_dir)
    check_same_data(trained, run, data, data_dir)
    fold, seed = TEST if split == "test" else VALID, trained.recipe.seed
    every = evaluation_settings(data, fold)
    if not every:
        hint = " Measure the validation events with --split valid." if fold == TEST else ""
        raise RunInvalidError(
            f"{data_dir}: the split leaves no {split} case (split.kind = "
            f'"{trained.recipe.split.kind}", split.{split}_share = '
            f"{getattr(trained.recipe.split, f'{split}_share'):g}).{hint}"
        )
    training = RunFolder(run).read_report()
    if fold == VALID and "ranker_gain" not in training:
        raise RunInvalidError(
            f"{run}: trained by an older version, whose ranker learned from the validation "
            "events. Train again, or evaluate the test split."
        )
    settings = sampled(every, users, seed)
    valid = [some(held_out_cases(data, VALID, c.setting), TUNING_CASES, seed) for c in settings]
    if not all(len(cases) for cases in valid):
        raise RunInvalidError(
            f"{data_dir}: the split leaves no validation case in a setting that has {split} cases "
            f"({', '.join(cases.setting for cases in settings)}), so no baseline can be tuned "
            "there. Hold out more for validation, or bring more data."
        )
    newcomers = _newcomers(data, fold)
    return Question(
        trained=trained,
        training=training,
        data=data,
        split=split,
        fold=fold,
        settings=settings,
        of_users=_users(every),
        newcomers=some(newcomers, users, seed) if newcomers and users else newcomers,
        valid=valid,
        tuned=tuned,
        reported=reported,
        all_methods=methods is None,
        cross_fit=load_cross_fit(run),
    )


def _users(settings: list[Cases]) -> int:
    return len(np.unique(np.concatenate([cases.users for cases in settings])))


def _newcomers(data: Dataset, fold: int) -> Cases | None:
    every = held_out_cases(data, fold, "new_to_user", newcomers=True)
    fresh = every.take(np.flatnonzero(every.ends == 0))
    return fresh if len(fresh) else None
