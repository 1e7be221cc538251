"""What `evaluate` returns: the figures of `evaluation.json` that users ask for, typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketrec_training.evaluation.baseline_gain import BaselineGain


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over cases.

    Attributes:
        value: the mean.
        low, high: ends of its 95% bootstrap interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """How one method ranked the held-out items of one setting.

    Attributes:
        method: "two_stage" (what ships), "two_tower" (retrieval alone), or the name of a baseline.
        setting: "new_to_user", or "all" if items that the user had are candidates too.
        cases: number of users and times that were asked about.
        metrics: by name and cut-off, such as "ndcg@10"; also recall, precision, hr and mrr.
        coverage: share of the catalogue that stands in some list, 0..1, by length of the lists.
    """

    method: str
    setting: str
    cases: int
    metrics: Mapping[str, Estimate]
    coverage: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        split: whose events were measured, "test" or "valid".
        gain: NDCG@10 of the two stages less that of the best simple baseline.
        methods: figures of each method in each setting, the main setting first.
        notes: what limits the result, one sentence each: a cap that cut training short, or events
            that the split cannot tell apart.
        report: the page, `evaluation.html`.
        details: all that `evaluation.json` holds. Keys are only added.

    Example:
        >>> gain = BaselineGain(split="test", setting="all", cases=2, rival="popularity",
        ...     model_ndcg10=0.5, rival_ndcg10=0.25, difference=0.25, low=0.125, high=0.375)
        >>> ndcg = Estimate(value=0.5, low=0.4, high=0.6)
        >>> two_stage = MethodFigures(method="two_stage", setting="all", cases=2,
        ...     metrics={"ndcg@10": ndcg}, coverage={10: 0.75})
        >>> found = Evaluation(split="test", gain=gain, methods=(two_stage,), notes=(),
        ...     report=Path("report", "evaluation.html"), details={})
        >>> found.sentence.partition(":")[0]
        'two_stage beats the best simple baseline, popularity'
        >>> found.of("two_stage").metrics["ndcg@10"].low
        0.4
    """

    split: str
    gain: BaselineGain
    methods: tuple[MethodFigures, ...]
    notes: tuple[str, ...]
    report: Path
    details: dict[str, Any] = field(repr=False)

    @property
    def sentence(self) -> str:
        """Whether the two stages beat the best simple baseline, in one sentence with figures."""
        return self.gain.sentence()

    def of(self, method: str, setting: str | None = None) -> MethodFigures:
        """Return the figures of one method.

        Args:
            method: name of the method.
            setting: "new_to_user" or "all". None: the main setting.

        Raises:
            KeyError: the method was not measured in this setting.
        """
        asked = self.methods[0].setting if setting is None else setting
        for each in self.methods:
            if (each.method, each.setting) == (method, asked):
                return each
        raise KeyError(f"no method {method!r} in setting {asked!r}")


def evaluation_of(details: dict[str, Any], gain: BaselineGain, report: Path) -> Evaluation:
    """Return the typed result; details: what `evaluate` writes to `evaluation.json`."""
    settings = details["protocol"]["settings"]
    main = next(iter(settings))
    return Evaluation(
        split=details["protocol"]["split"],
        gain=gain,
        methods=tuple(
            _figures(method, setting, about["cases"], values)
            for setting, about in settings.items()
            for method, values in details[
                "retrieval" if setting == main else f"retrieval_{setting}"
            ].items()
        ),
        notes=tuple(details["notes"]),
        report=report,
        details=details,
    )


def _figures(method: str, setting: str, cases: int, values: Mapping[str, Any]) -> MethodFigures:
    metrics, coverage = {}, {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            metrics[name] = Estimate(**value)
        else:
            coverage[int(name.removeprefix("coverage@"))] = value
    return MethodFigures(
        method=method, setting=setting, cases=cases, metrics=metrics, coverage=coverage
    )
