"""A run folder: the files that `train` writes and that export, evaluation and warm starts read.

This file owns the names. Contents belong to the modules that write them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pocketrec_bundle.declared.fitted import FILE as FEATURES_FILE
from pocketrec_bundle.objectives.heads import FILE as OBJECTIVES_FILE
from pocketrec_training.data import columns as col
from pocketrec_training.errors import RunInvalidError

MODELS = ("user_tower", "item_tower", "ranker")
"""Names of the Keras models; each is saved as NAME.keras."""

TOWERS = ("user_tower", "item_tower")

Fit = Literal["evaluation", "final"]
"""The fit whose figures are reported, and the one on all events, which ships."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of the files of one run, or of its final fit.

    Attributes:
        path: the folder.
        tables: folder of the tables; None: `path`.

    Example:
        >>> run = RunFolder(Path("runs/shop"))
        >>> run.item_vectors
        PosixPath('runs/shop/item_vectors.npy')
        >>> run.final.item_vectors, run.final.items
        (PosixPath('runs/shop/final/item_vectors.npy'), PosixPath('runs/shop/items.parquet'))
    """

    path: Path
    tables: Path | None = None

    @property
    def final(self) -> "RunFolder":
        """The final fit; its folder is missing after `train --no-final` and in old runs."""
        return RunFolder(self.path / "final", self.path)

    @property
    def refit(self) -> "RunFolder":
        """Towers and neighbours of training and validation events; missing without a final fit."""
        return RunFolder(self.path / "refit", self.path)

    @property
    def shipped(self) -> Fit:
        """The fit that ships: the final one if there is one."""
        return "final" if self.final.path.is_dir() else "evaluation"

    def of(self, fit: Fit) -> "RunFolder":
        """Return the folder of a fit.

        Raises:
            RunInvalidError: the run has no final fit.
        """
        if fit == "evaluation":
            return self
        if not self.final.path.is_dir():
            raise RunInvalidError(
                f"{self.path}: has no final fit. Train without --no-final, or choose the "
                "evaluation fit."
            )
        return self.final

    @property
    def recipe(self) -> Path:
        """The recipe that was trained, as JSON."""
        return self.path / "recipe.json"

    @property
    def feature_spec(self) -> Path:
        """Names and sizes of the models' inputs."""
        return self.path / "feature_spec.json"

    @property
    def features(self) -> Path:
        """Declared features, as the models read them; missing without any."""
        return self.path / FEATURES_FILE

    @property
    def objectives(self) -> Path:
        """What the heads mean, and the formula; missing without objectives and formula."""
        return self.path / OBJECTIVES_FILE

    @property
    def report(self) -> Path:
        """How training went, see `TrainReport`."""
        return self.path / "train_report.json"

    @property
    def items(self) -> Path:
        """The canonical table of items."""
        return (self.tables or self.path) / col.ITEMS_FILE

    @property
    def interactions(self) -> Path:
        """The canonical table of interactions."""
        return (self.tables or self.path) / col.INTERACTIONS_FILE

    @property
    def data_report(self) -> Path:
        """The report of `pocketrec data`; missing if the tables have none."""
        return (self.tables or self.path) / col.REPORT_FILE

    @property
    def item_vectors(self) -> Path:
        """Output of the item tower: float32 [n_items, d] in the order of `items`."""
        return self.path / "item_vectors.npy"

    @property
    def neighbours(self) -> Path:
        """Item neighbours; missing if the recipe asks for none."""
        return self.path / "neighbours.npz"

    @property
    def folds(self) -> Path:
        """The fold of each user of the cross-fitted rankers; missing without such rankers."""
        return self.path / "ranker_folds.json"

    @property
    def baseline_gain(self) -> Path:
        """How the run compares with the best baseline; `evaluate` writes it."""
        return self.path / "baseline_gain.json"

    @property
    def quality(self) -> Path:
        """Figures of heads and items of the last test evaluation; `evaluate` writes it."""
        return self.path / "quality.json"

    def model(self, name: str) -> Path:
        """Path of one of `MODELS`."""
        return self.path / f"{name}.keras"

    def fold_ranker(self, fold: int) -> Path:
        """Path of the ranker that did not learn from the users of a fold."""
        return self.path / f"ranker_fold_{fold}.keras"

    def check_finished(self) -> None:
        """Check that no file is missing that every run has.

        Raises:
            RunInvalidError: one is missing.
        """
        always = (self.recipe, self.feature_spec, self.report, self.items, self.interactions)
        models = (self.item_vectors, *map(self.model, MODELS))
        missing = [path.name for path in (*always, *models) if not path.is_file()]
        if missing:
            raise RunInvalidError(
                f"{self.path}: not a finished run, it lacks {', '.join(missing)}."
            )

    def read_report(self) -> dict[str, Any]:
        """Read `train_report.json`.

        Raises:
            RunInvalidError: it is missing or damaged.
        """
        try:
            found: dict[str, Any] = json.loads(self.report.read_bytes())
        except (OSError, ValueError) as err:
            raise RunInvalidError(f"{self.report}: damaged ({err}). Train again.") from err
        return found
