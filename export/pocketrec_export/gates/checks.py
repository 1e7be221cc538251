"""Check files and pairs of one target against the recipe's limits; the results are rows.

Parity with Keras, bytes, the runtime and golden slates are exact: the same files give the same
figure, and the limit decides. Time, NDCG and AUC are samples: a check refuses if the complete
interval exceeds the limit, and warns if only the value does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from pocketrec_edge.engines.select import is_older
from pocketrec_export.gates.losses import Estimate
from pocketrec_export.gates.measure import FileFigures
from pocketrec_export.gates.rows import GateRow
from pocketrec_training.recipe.schema import Target

OLDEST = {"legacy": "2.14.0"}
"""The last tflite-runtime there was (2023); apps of that time carry runtimes like it."""

FAR_BEYOND = 1.5
"""Time refuses only when every round is beyond this many times the limit (docs/export.md)."""

Pair = tuple[FileFigures, FileFigures]
"""User tower and ranker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Losses of NDCG@10 (relative) and AUC (absolute) against the exact path; positive is worse."""

    ndcg: Estimate
    auc: Estimate


class Measures(Protocol):
    """Measurements of the gates; each runs only after all cheaper checks have passed."""

    @property
    def skips_cells(self) -> bool:
        """Whether a search skips cells of the item index."""

    def latency(self, file: FileFigures) -> Estimate:
        """Return a file's time over that of its fp32 file; the interval is over rounds."""

    def slate_overlap(self, tower: FileFigures, ranker: FileFigures) -> float:
        """Return the share of the exact golden slates that a pair shows too."""

    def losses(self, tower: FileFigures, ranker: FileFigures) -> Losses | None:
        """Return the losses of a pair with the item index; None without validation cases."""

    def index_slate_overlap(self) -> float:
        """Return the share that the exact models show through the item index."""

    def index_losses(self) -> Losses:
        """Return the losses of the exact models with the item index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The checks of one target, from the cheapest to the most expensive.

    Attributes:
        name: of the target.
        target: its limits.
        measures: what is asked beyond the files' figures.
    """

    name: str
    target: Target
    measures: Measures

    def runs(self, file: FileFigures) -> GateRow:
        """Return the row of a file that was not made or does not run."""
        return GateRow(
            target=self.name,
            model=file.model,
            variant=file.variant,
            check="runs",
            key="export.variants",
            value=file.note,
            limit="finite numbers",
            passed=False,
        )

    def size(self, pair: Pair) -> GateRow:
        """Check the bytes of a pair."""
        found = pair[0].bytes + pair[1].bytes
        return self._row(pair, "bytes", "models_bytes", found, found <= self.target.models_bytes)

    def figures(self, file: FileFigures) -> Iterator[GateRow]:
        """Check the minimum runtime of a file and its parity with Keras."""
        target = self.target
        oldest = OLDEST.get(self.name, "") if target.runtime == "auto" else target.runtime
        if oldest:
            known = bool(file.min_runtime)
            fits = known and not is_older(oldest, file.min_runtime)
            found = file.min_runtime or "unknown"
            yield self._row(file, "minimum runtime", "runtime", found, fits, limit=oldest)
        checks = {"user_tower": ("cosine", "overlap"), "ranker": ("rank_correlation",)}
        for key in checks[file.model]:
            value = getattr(file, key)
            passed = value >= getattr(target, key)
            yield self._row(file, key.replace("_", " "), key, value, passed)

    def time(self, file: FileFigures) -> Iterator[GateRow]:
        """Check the time of a file."""
        limit = self.target.latency_ratio
        yield self._sampled(
            file, "latency ratio", "latency_ratio", self.measures.latency(file), FAR_BEYOND * limit
        )

    def quality(self, pair: Pair) -> Iterator[GateRow]:
        """Check the slates of a pair, then its losses; ends with the first that refuses."""
        shared = self.measures.slate_overlap(*pair)
        passed = shared >= self.target.slate_overlap
        row = self._row(pair, "slate overlap", "slate_overlap", shared, passed)
        yield row if passed else replace(row, note=self._cause_of_slates(shared))
        if not passed or (losses := self.measures.losses(*pair)) is None:
            return
        for check, key, one in (
            ("NDCG@10 loss", "ndcg_loss", losses.ndcg),
            ("AUC loss", "auc_loss", losses.auc),
        ):
            limit = getattr(self.target, key)
            row = self._sampled(pair, check, key, one, limit)
            if one.value > limit:
                index = self._index_loss(key)
                note = self._cause_of_loss(index, one)
                row = replace(row, note=note, of_index=one.value - index.value <= limit)
            yield row

    def _cause_of_slates(self, shared: float) -> str:
        index = 1 - self.measures.index_slate_overlap()
        lost = 1 - shared
        shares = f"the item index changes {index:.3g} of the slates, the model files the rest"
        return shares + self._what_of_index(index, lost)

    def _index_loss(self, key: str) -> Estimate:
        losses = self.measures.index_losses()
        return losses.ndcg if key == "ndcg_loss" else losses.auc

    def _cause_of_loss(self, index: Estimate, found: Estimate) -> str:
        """Say how much of a loss is the item index's, and which keys change that."""
        shares = (
            f"the item index costs {index.value:.3g} of it "
            f"[{index.low:.3g}, {index.high:.3g}], the model files {found.value - index.value:.3g}"
        )
        return shares + self._what_of_index(index.value, found.value)

    def _what_of_index(self, index: float, lost: float) -> str:
        """Say what to do about the item index where it causes most of a loss."""
        if index <= lost / 2:
            return ""
        if self.measures.skips_cells:
            return ": raise index.recall or index.probes, or set index.cells = 0"
        return ": every cell is read, so this is the item vectors' rounding to int8"

    def _sampled(
        self,
        of: FileFigures | Pair,
        check: str,
        key: str,
        found: Estimate,
        refused_above: float,
    ) -> GateRow:
        row = self._row(of, check, key, found.value, found.low <= refused_above)
        return replace(
            row,
            interval=(found.low, found.high),
            warned=row.passed and found.value > getattr(self.target, key),
        )

    def _row(
        self,
        of: FileFigures | Pair,
        check: str,
        key: str,
        value: float | str,
        passed: bool,
        *,
        limit: str = "",
    ) -> GateRow:
        files = of if isinstance(of, tuple) else (of,)
        allowed: float | str = limit or getattr(self.target, key)
        return GateRow(
            target=self.name,
            model=files[0].model if len(files) == 1 else "both",
            variant=" + ".join(file.variant for file in files),
            check=check,
            key=f"export.targets.{self.name}.{key}",
            value=value,
            limit=allowed,
            passed=passed,
        )
