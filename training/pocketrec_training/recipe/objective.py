"""One `[[objectives]]` table of a recipe: what a head of the ranker learns."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Len

from pocketrec_bundle.objectives.heads import MAX_WINDOW_S, Calibration, Kind
from pocketrec_training.recipe.bounds import FORBID, Above0


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What one head predicts of a candidate, and how it learns it.

    Attributes:
        name: of the head.
        events: event types that count.
        kind: "binary": whether one happens; "value": the sum of their values, such as revenue;
            "share": the largest value, a share 0..1.
        window_s: seconds after the request in which they count; 0: only the next event, or basket.
        weight: of the head's loss; and of its value in the final score, if there is no formula.
        calibration: of the head.
        winsor: "value" only: quantile of the positive values of the training events; larger values
            and sums count as this number.
        of: "share" only: a numeric column of the items; values are divided by it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID
    name: str
    events: Annotated[tuple[str, ...], Len(1)]
    kind: Kind = "binary"
    window_s: Annotated[int, Ge(0), Le(MAX_WINDOW_S)] = 0
    weight: Above0 = 1.0
    calibration: Calibration = "platt"
    winsor: Annotated[float, Gt(0.0), Le(1.0)] = 0.99
    of: str = ""
