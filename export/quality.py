"""What a pair of model files makes of slates: the device path on validation cases, beside fp32."""

from collections.abc import Sequence

import numpy as np

from bundle.golden import GoldenCase
from bundle.reader import Bundle
from edge_runtime.pipeline import Recommender
from export import golden, on_device
from export.gates import EXACT, Quality
from export.measure import FileFigures, Measured
from training.cases import Setting, held_out_cases, some
from training.dataset import VALID, Dataset
from training.trained import Trained

K = 10
REFERENCE = "litert"
"""The fp32 pair of this engine is what losses are counted from."""


class PairQuality:
    """Measures pairs of files once each, on the same cases and golden requests."""

    def __init__(
        self,
        draft: Bundle,
        measured: Sequence[Measured],
        trained: Trained,
        data: Dataset,
        blank: Sequence[GoldenCase],
    ) -> None:
        """Prepare the cases.

        Args:
            draft: the release with all but its models.
            measured: all files, those that run loaded.
            trained: gives the recipe.
            data: validation events; the test split is not read.
            blank: golden requests without answers.
        """
        recipe = trained.recipe
        setting: Setting = "all" if recipe.rerank.repeats else "new_to_user"
        self._draft, self._data = draft, data
        self._engines = {
            (m.figures.model, m.made.engine, m.made.variant): m.engine
            for m in measured
            if m.engine is not None
        }
        self._blank = list(blank)
        cases = held_out_cases(data, VALID, setting)
        self._cases = some(cases, recipe.export.gate_cases, recipe.seed)
        self._seen: dict[tuple[str, ...], tuple[float, float, list[tuple[str, ...]]]] = {}

    def __call__(self, tower: FileFigures, ranker: FileFigures) -> Quality | None:
        """Return the pair's losses; None without validation cases."""
        if not len(self._cases):
            return None
        ndcg, auc, slates = self._measured(tower.engine, tower.variant, ranker.variant)
        exact_ndcg, exact_auc, exact = self._measured(REFERENCE, EXACT, EXACT)
        shared = [
            len({*one} & {*two}) / max(len(two), 1) for one, two in zip(slates, exact, strict=True)
        ]
        loss = exact_auc - auc
        return Quality(
            slate_overlap=float(np.mean(shared)),
            ndcg_loss=(exact_ndcg - ndcg) / exact_ndcg if exact_ndcg else 0.0,
            auc_loss=0.0 if np.isnan(loss) else loss,
        )

    def _measured(
        self, engine: str, tower: str, ranker: str
    ) -> tuple[float, float, list[tuple[str, ...]]]:
        """NDCG@10, AUC and golden slates of a pair."""
        key = (engine, tower, ranker)
        if key not in self._seen:
            models = (
                self._engines["user_tower", engine, tower],
                self._engines["ranker", engine, ranker],
            )
            device = Recommender(self._draft, engine, models=models)
            told = f"{engine} {tower} + {ranker}"
            found = on_device.answer(device, self._data, self._cases, K, told)
            slates = [case.slate_ids for case in golden.answer(device, self._blank)]
            self._seen[key] = (found.ndcg(self._cases, K), found.auc(), slates)
        return self._seen[key]
