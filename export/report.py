"""What an export found: printed, put into the model card, and returned as JSON."""

from dataclasses import dataclass

from export.gates import Choice, GateRow
from export.measure import FileFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What one target gets; passed is False if only `--force` let it ship."""

    target: str
    engine: str
    user_tower: str
    ranker: str
    models_bytes: int
    passed: bool

    @classmethod
    def of(cls, choice: Choice) -> "Shipped":
        """Tell a choice of the gates."""
        return cls(
            target=choice.target,
            engine=choice.engine,
            user_tower=choice.tower.variant,
            ranker=choice.ranker.variant,
            models_bytes=choice.tower.bytes + choice.ranker.bytes,
            passed=choice.passed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What the export found.

    Attributes:
        golden_left_out: cases that rounding decides (`golden.answered`).
        baseline_gain: one line, the two stages against the best simple baseline; "" if the recipe
            has `export.require_gain = "off"`.
    """

    name: str
    items: int
    bundle_bytes: int
    shipped: list[Shipped]
    files: list[FileFigures]
    gates: list[GateRow]
    golden_cases: int
    golden_left_out: int
    baseline_gain: str
