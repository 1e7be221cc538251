"""Is the shipped system better than the best simple baseline? Read by evaluation and export."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pocketrec_bundle.disk.files import canonical_json, write_atomic
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets
from pocketrec_training.metrics.significance import compare_means
from pocketrec_training.run_folder import RunFolder

MODEL, TOP = "two_stage", 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineGain:
    """NDCG@10 of the two stages less that of the best baseline, case by case.

    Attributes:
        split, setting, cases: what was asked, see `pocketrec_training.metrics.cases`.
        rival: the baseline with the best NDCG@10 on these very cases.
        model_ndcg10, rival_ndcg10: means.
        difference, low, high: model - rival with its paired 95% bootstrap interval.
    """

    split: str
    setting: str
    cases: int
    rival: str
    model_ndcg10: float
    rival_ndcg10: float
    difference: float
    low: float
    high: float

    @property
    def loses(self) -> bool:
        """Whether the baseline is better on average."""
        return self.difference < 0

    def sentence(self) -> str:
        """Return the first line of `evaluate`, of the report and of the model card."""
        if not self.difference:
            verdict = "equals"
        elif self.loses:
            verdict = "LOSES to" if self.high < 0 else "is below (not beyond chance)"
        else:
            verdict = "beats" if self.low > 0 else "is above (not beyond chance)"
        return (
            f"two_stage {verdict} the best simple baseline, {self.rival}: NDCG@{TOP} "
            f"{self.model_ndcg10:.4f} against {self.rival_ndcg10:.4f}, difference "
            f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}], {self.cases} "
            f"{self.split} cases, {self.setting.replace('_', ' ')}"
        )


def baseline_gain(
    cases: Cases,
    ranked: Mapping[str, RankedTargets],
    baselines: Collection[str],
    split: str,
    seed: int,
) -> BaselineGain:
    """Compare the two stages with the best of the baselines over the same cases."""
    name = f"ndcg@{TOP}"
    values = {
        method: metrics.at_k(found.ranks, TOP, cases.offsets)[name]
        for method, found in ranked.items()
        if method == MODEL or method in baselines
    }
    rival = max((m for m in values if m != MODEL), key=lambda m: float(values[m].mean()))
    found = compare_means({name: values[rival]}, {name: values[MODEL]}, seed)[name]
    return BaselineGain(
        split=split,
        setting=cases.setting,
        cases=len(cases),
        rival=rival,
        model_ndcg10=found.b,
        rival_ndcg10=found.a,
        difference=found.difference,
        low=found.low,
        high=found.high,
    )


def shipped_gain(cases: Cases, ranked: Mapping[str, RankedTargets], seed: int) -> dict[str, float]:
    """Compare the bundle with both stages in Keras: their NDCG@10, a and b, and the interval."""
    name = f"ndcg@{TOP}"
    keras, phone = (
        metrics.at_k(ranked[method].ranks, TOP, cases.offsets)[name]
        for method in (MODEL, "shipped_bundle")
    )
    found = compare_means({name: keras}, {name: phone}, seed)[name]
    return {"a": found.a, "b": found.b, "low": found.low, "high": found.high}


def write_gain(run_dir: Path, gain: BaselineGain) -> None:
    """Leave the result in the run folder, for `pocketrec export`."""
    write_atomic(RunFolder(run_dir).baseline_gain, canonical_json(asdict(gain)))


def read_gain(run_dir: Path) -> BaselineGain | None:
    """Read what `write_gain` wrote; None for a run that was not evaluated.

    Raises:
        RunInvalidError: the file is damaged.
    """
    path = RunFolder(run_dir).baseline_gain
    if not path.is_file():
        return None
    try:
        return BaselineGain(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as err:
        raise RunInvalidError(f"{path}: damaged ({err}). Evaluate the run again.") from err
