"""What hybrids use of the methods that were tuned before them: nothing is fitted a second time."""

from collections.abc import Collection

import numpy as np

from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.scorer import Asked, Scorer
from pocketrec_training.metrics.cases import Setting


class Remembering:
    """A scorer that scores each case once; it may then forget how."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer: Scorer | None = scorer
        self._rows: dict[tuple[int, int], Floats32] = {}

    def __call__(self, asked: Asked) -> Floats32:
        """Score, or return what was scored: a user and a length name a history of the dataset."""
        keys = [(user, len(past)) for user, past in asked]
        if any(key not in self._rows for key in keys):
            if self._scorer is None:
                raise RuntimeError("a case that was not scored before the search ended")
            self._rows |= dict(zip(keys, self._scorer(asked), strict=True))
        return np.stack([self._rows[key] for key in keys])

    def freeze(self) -> None:
        """Free the fitted method and keep the scores."""
        self._scorer = None


class PartScorers:
    """Scorers of parts, by name and setting.

    Attributes:
        on_validation: with the chosen parameters, fitted on the training fold; for the validation
            cases only.
        final: fitted for the cases to answer.
    """

    def __init__(self) -> None:
        self.on_validation: dict[tuple[str, Setting], Scorer] = {}
        self.final: dict[tuple[str, Setting], Scorer] = {}
        self._wanted: Collection[str] = ()

    def keep_only(self, wanted: Collection[str]) -> None:
        """Keep the scorers of these methods, which later hybrids need, and free the others."""
        self._wanted = wanted
        for kept in (self.on_validation, self.final):
            for key in [key for key in kept if key[0] not in wanted]:
                del kept[key]

    def wants(self, name: str) -> bool:
        """Whether a later hybrid has this part."""
        return name in self._wanted


class BestScorers:
    """The best scorer of a search in each setting, remembered if a hybrid needs it."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._best: dict[Setting, tuple[float, Remembering]] = {}

    def watched(self, scorer: Scorer) -> Scorer:
        """Return the scorer, remembering if it may be kept."""
        return Remembering(scorer) if self._keep else scorer

    def offer(self, scorer: Scorer, gains: dict[Setting, float]) -> None:
        """Keep the scorer for the settings in which it is better than those before."""
        if not isinstance(scorer, Remembering):
            return
        scorer.freeze()
        for setting, gain in gains.items():
            if setting not in self._best or gain > self._best[setting][0]:
                self._best[setting] = gain, scorer

    def of(self, setting: Setting) -> Scorer | None:
        """Return the best one; None if nothing was searched."""
        return self._best[setting][1] if setting in self._best else None
