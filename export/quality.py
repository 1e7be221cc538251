"""What a pair of model files makes of slates: the device path on validation cases, beside exact."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
"""The engine whose fp32 pair stands for the exact models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """NDCG@10 and AUC over the cases, and the golden slates."""

    ndcg: float
    auc: float
    slates: list[tuple[str, ...]]


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
        self._draft, self._data, self._trained = draft, data, trained
        self._engines = {
            (m.figures.model, m.made.engine, m.made.variant): m.engine
            for m in measured
            if m.engine is not None
        }
        self._blank = list(blank)
        cases = held_out_cases(data, VALID, setting)
        self._cases = some(cases, recipe.export.gate_cases, recipe.seed)
        self._seen: dict[tuple[str, str, str], _Result] = {}

    def __call__(self, tower: FileFigures, ranker: FileFigures) -> Quality | None:
        """Return the pair's losses; None without validation cases."""
        if not len(self._cases):
            return None
        key = (tower.engine, tower.variant, ranker.variant)
        if key not in self._seen:
            self._seen[key] = self._of(self._device(*key))
        found, exact = self._seen[key], self._exact
        shared = [
            len({*one} & {*two}) / max(len(two), 1)
            for one, two in zip(found.slates, exact.slates, strict=True)
        ]
        auc_loss = exact.auc - found.auc
        return Quality(
            slate_overlap=float(np.mean(shared)),
            ndcg_loss=(exact.ndcg - found.ndcg) / exact.ndcg if exact.ndcg else 0.0,
            auc_loss=0.0 if np.isnan(auc_loss) else auc_loss,
        )

    @cached_property
    def _exact(self) -> _Result:
        """What losses are counted from: fp32 models and item vectors that were never rounded."""
        device = self._device(REFERENCE, EXACT, EXACT)
        row_of = {item_id: row for row, item_id in enumerate(self._trained.items.ids)}
        order = [row_of[item_id] for item_id in self._draft.item_ids()]
        device.index = replace(
            device.index,
            rows=self._trained.item_vectors[order],
            scales=np.ones(len(order), np.float32),
        )
        return self._of(device)

    def _device(self, engine: str, tower: str, ranker: str) -> Recommender:
        pair = (
            self._engines["user_tower", engine, tower],
            self._engines["ranker", engine, ranker],
        )
        return Recommender(self._draft, engine, models=pair)

    def _of(self, device: Recommender) -> _Result:
        found = on_device.answer(device, self._data, self._cases, K, f"gates, {device.engine}")
        return _Result(
            ndcg=found.ndcg(self._cases, K),
            auc=found.auc(),
            slates=[case.slate_ids for case in golden.answer(device, self._blank)],
        )
