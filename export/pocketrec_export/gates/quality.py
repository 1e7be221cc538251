"""Measure files and pairs for the gates: time, slates, and losses on cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.golden.vectors import GoldenCase
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_export.gates import on_device
from pocketrec_export.gates.checks import Losses
from pocketrec_export.gates.choose import EXACT
from pocketrec_export.gates.losses import Estimate, ScoredCandidates, auc_loss, ndcg_loss
from pocketrec_export.gates.measure import FileFigures, MeasuredModel, latency
from pocketrec_export.golden import answers as golden
from pocketrec_training.data.dataset import VALID, Dataset
from pocketrec_training.metrics.cases import Setting, held_out_cases, some
from pocketrec_training.trained import TrainedRun

K = 10
REFERENCE = "litert"
"""The engine whose fp32 pair stands for the exact models."""

FileKey = tuple[str, str, str]
"""Model, engine, variant."""

_Key = tuple[str, str, str]
"""Engine, variant of the user tower, variant of the ranker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """NDCG@10 of each case, float64 [n], and the candidates of all."""

    ndcg: NDArray[np.float64]
    candidates: ScoredCandidates


class PairQuality:
    """Measure each file and pair once, on the same cases and golden requests.

    Losses are relative to the exact path: fp32 models, unrounded item vectors, and a search of all
    cells of the index.
    """

    def __init__(
        self,
        draft: Bundle,
        measured: Sequence[MeasuredModel] | Mapping[FileKey, MeasuredModel],
        trained: TrainedRun,
        data: Dataset,
        blank: Sequence[GoldenCase],
    ) -> None:
        """Prepare the cases.

        Args:
            draft: the release with all but its models.
            measured: all files, those that run loaded; or files by model, engine and variant.
            trained: gives the recipe.
            data: validation events; the test split is not read.
            blank: golden requests without answers.
        """
        recipe = trained.recipe
        setting: Setting = "all" if recipe.rerank.repeats else "new_to_user"
        self._draft, self._data, self._trained = draft, data, trained
        self._measured: Mapping[FileKey, MeasuredModel] = (
            measured
            if isinstance(measured, Mapping)
            else {(m.figures.model, m.made.engine, m.made.variant): m for m in measured}
        )
        self._blank = list(blank)
        cases = held_out_cases(data, VALID, setting)
        self._cases = some(cases, recipe.export.gate_cases, recipe.seed)
        self._latencies: dict[_Key, Estimate] = {}
        self._overlaps: dict[_Key, float] = {}
        self._losses: dict[_Key, Losses] = {}

    @property
    def skips_cells(self) -> bool:
        """Whether a search skips cells of the item index."""
        return self._draft.policy.probes > 0

    def latency(self, file: FileFigures) -> Estimate:
        """Return a file's time over that of its fp32 file, both run in turns."""
        if file.variant == EXACT:
            return Estimate(value=1.0, low=1.0, high=1.0)
        key = (file.model, file.engine, file.variant)
        if key not in self._latencies:
            one, exact = (self._measured[file.model, file.engine, v] for v in (key[2], EXACT))
            if exact.engine is None:  # nothing to compare with
                return Estimate(value=1.0, low=1.0, high=1.0)
            assert one.engine is not None
            self._latencies[key] = latency(one.engine, exact.engine, one.inputs)
        return self._latencies[key]

    def slate_overlap(self, tower: FileFigures, ranker: FileFigures) -> float:
        """Return the share of the exact golden slates that a pair shows too."""
        return self._overlap_of((tower.engine, tower.variant, ranker.variant))

    def index_slate_overlap(self) -> float:
        """Return the share that the exact models show through the item index."""
        return self._overlap_of((REFERENCE, EXACT, EXACT))

    def _overlap_of(self, key: _Key) -> float:
        if key not in self._overlaps:
            found = self._slates(self._device(*key))
            shared = [
                len({*one} & {*two}) / max(len(two), 1)
                for one, two in zip(found, self._exact_slates, strict=True)
            ]
            self._overlaps[key] = float(np.mean(shared))
        return self._overlaps[key]

    def losses(self, tower: FileFigures, ranker: FileFigures) -> Losses | None:
        """Return the losses of a pair with the item index; None without validation cases."""
        if not len(self._cases):
            return None
        return self._losses_of((tower.engine, tower.variant, ranker.variant))

    def index_losses(self) -> Losses:
        """Return the losses of the exact models with the item index."""
        return self._losses_of((REFERENCE, EXACT, EXACT))

    def _losses_of(self, key: _Key) -> Losses:
        if key not in self._losses:
            seed, exact, found = (
                self._trained.recipe.seed,
                self._exact,
                self._of(self._device(*key)),
            )
            self._losses[key] = Losses(
                ndcg=ndcg_loss(exact.ndcg, found.ndcg, seed),
                auc=auc_loss(exact.candidates, found.candidates, seed),
            )
        return self._losses[key]

    @cached_property
    def _exact(self) -> _Result:
        return self._of(self._exact_device())

    @cached_property
    def _exact_slates(self) -> list[tuple[str, ...]]:
        return self._slates(self._exact_device())

    def _exact_device(self) -> Recommender:
        device = self._device(REFERENCE, EXACT, EXACT)
        row_of = {item_id: row for row, item_id in enumerate(self._trained.items.ids)}
        order = [row_of[item_id] for item_id in self._draft.item_ids()]
        device.index = replace(
            device.index,
            rows=self._trained.item_vectors[order],
            scales=np.ones(len(order), np.float32),
        )
        device.policy = replace(device.policy, probes=0)
        return device

    def _device(self, engine: str, tower: str, ranker: str) -> Recommender:
        pair = (
            self._measured["user_tower", engine, tower].engine,
            self._measured["ranker", engine, ranker].engine,
        )
        assert pair[0] is not None
        assert pair[1] is not None
        return Recommender(self._draft, engine, models=(pair[0], pair[1]))

    def _slates(self, device: Recommender) -> list[tuple[str, ...]]:
        return [case.slate_ids for case in golden.answer(device, self._blank)]

    def _of(self, device: Recommender) -> _Result:
        found = on_device.answer(device, self._data, self._cases, K, f"gates, {device.engine}")
        return _Result(
            ndcg=found.ndcg_of_each(self._cases, K),
            candidates=ScoredCandidates(
                scores=found.scores, taken=found.taken, cases=found.owners, n=len(self._cases)
            ),
        )
