"""What a request comes to."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.recommend.index import Floats
from pocketrec_edge.recommend.offers import Sponsorship
from pocketrec_edge.recommend.rules import Touch


@dataclass(frozen=True, slots=True)
class SlateItem:
    """One recommended item; probabilities by head, reason in words.

    propensity: the probability that this item is at this place, below 1 where the release
    explores; touched: what the release's rules did to it, in their order; sponsored: None where
    nobody pays for its place.
    """

    row: int
    item_id: str
    title: str
    score: float
    retrieval_score: float
    reason: str
    probabilities: dict[str, float]
    propensity: float = 1.0
    touched: tuple[Touch, ...] = ()
    sponsored: Sponsorship | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain values; `asdict` copies all of them, which takes .6 ms a slate of 50."""
        found = {name: getattr(self, name) for name in self.__slots__}
        found["touched"] = tuple(asdict(touch) for touch in self.touched)
        found["sponsored"] = None if self.sponsored is None else asdict(self.sponsored)
        return found


@dataclass(frozen=True, slots=True)
class Slate:
    """The answer, best first; source is "model", "retrieval" or "fallback".

    candidates: int32 [n] rows in retrieval's order; scores: float32 [n], their final scores.
    """

    items: tuple[SlateItem, ...]
    stage_ms: dict[str, float]
    source: str
    fault: str | None
    user_vector: Floats = field(repr=False)
    candidates: NDArray[np.int32] = field(repr=False)
    scores: Floats = field(repr=False)
