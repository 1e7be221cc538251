"""The report of an export: printed, written to the model card, and returned as JSON."""

from dataclasses import dataclass, field

from pocketrec_export.gates.choose import Choice
from pocketrec_export.gates.measure import FileFigures
from pocketrec_export.gates.rows import GateRow
from pocketrec_training.run_folder import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedVariant:
    """The models of one target.

    Attributes:
        passed: False if it ships only because of `--force`.
        warned: a loss exceeds its limit, but the difference is not significant.
    """

    target: str
    engine: str
    user_tower: str
    ranker: str
    models_bytes: int
    passed: bool
    warned: bool

    @classmethod
    def of(cls, choice: Choice) -> "ShippedVariant":
        """Make the report of a choice of the gates."""
        return cls(
            target=choice.target,
            engine=choice.engine,
            user_tower=choice.tower.variant,
            ranker=choice.ranker.variant,
            models_bytes=choice.tower.bytes + choice.ranker.bytes,
            passed=choice.passed,
            warned=choice.warned,
        )

    @property
    def state(self) -> str:
        """Return the decision of the gates as a text."""
        if not self.passed:
            return "refused, shipped with --force"
        return "passed, with a warning" if self.warned else "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedSet:
    """The rankers of a model set.

    Attributes:
        shipped: by target; the user tower is the release's own.
        files: all rankers of the set.
        gates: all checks of its rankers, also of those that do not ship.
        note: what an arm has to set besides; "" if nothing.
    """

    name: str
    shipped: list[ShippedVariant]
    files: list[FileFigures]
    gates: list[GateRow]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The results of an export.

    Attributes:
        gates: all checks, also of files that do not ship.
        golden_left_out: cases whose order depends on rounding (`golden.answered`).
        golden_unmade: edge cases that this release cannot show, e.g. a withdrawn item.
        baseline_gain: one line, the two stages against the best simple baseline; "" if the recipe
            has `export.require_gain = "off"`.
        fit: "final" (learned from all events) or "evaluation".
        sets: model sets, for arms of experiments.

    Example:
        >>> shipped = ShippedVariant(target="web", engine="onnx", user_tower="fp16", ranker="fp32",
        ...     models_bytes=65_536, passed=True, warned=False)
        >>> report = ExportReport(name="shop-1", items=30, bundle_bytes=98_304, shipped=[shipped],
        ...     files=[], gates=[], golden_cases=4, golden_left_out=0, golden_unmade=[],
        ...     baseline_gain="")
        >>> [f"{each.target}: {each.user_tower}, {each.state}" for each in report.shipped]
        ['web: fp16, passed']
    """

    name: str
    items: int
    bundle_bytes: int
    shipped: list[ShippedVariant]
    files: list[FileFigures]
    gates: list[GateRow]
    golden_cases: int
    golden_left_out: int
    golden_unmade: list[str]
    baseline_gain: str
    fit: Fit = "evaluation"
    sets: list[ShippedSet] = field(default_factory=list)

    def gates_of_shipped(self) -> list[GateRow]:
        """Return the checks of the files that each target ships."""
        both = {(s.target, "both", f"{s.user_tower} + {s.ranker}") for s in self.shipped}
        each = {(s.target, "user_tower", s.user_tower) for s in self.shipped}
        each |= {(s.target, "ranker", s.ranker) for s in self.shipped}
        return [row for row in self.gates if (row.target, row.model, row.variant) in both | each]
