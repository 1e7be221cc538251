"""The results of a release's rules: a slate, or the probability of each slate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64
from pocketrec_edge.answers import RuleEffect
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankResult:
    """The slate that re-ranking chose; all lists have one entry an item, in slate order.

    Attributes:
        positions: into the candidates.
        touched: effects of the rules on the item.
        propensities: probability of the item at its rank.
        campaigns: the campaign that the item is shown for; None if it is not sponsored.
    """

    positions: list[int]
    touched: list[tuple[RuleEffect, ...]]
    propensities: list[float]
    campaigns: list[EligibleCampaign | None]

    @classmethod
    def untouched(cls, positions: list[int]) -> "RerankResult":
        """Return a slate without rules: no effects, propensity 1."""
        return cls(
            positions=positions,
            touched=[()] * len(positions),
            propensities=[1.0] * len(positions),
            campaigns=[None] * len(positions),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaceProbabilities:
    """Each item that a place of the slate may hold, over all draws of the rules.

    Attributes:
        positions: int64 [n], into the candidates.
        places: int64 [n], from 1.
        probabilities: float64 [n], above 0; those of one place sum to 1.
    """

    positions: Positions
    places: Positions
    probabilities: Floats64
