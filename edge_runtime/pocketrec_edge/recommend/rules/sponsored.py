"""Sponsored places: which campaigns take them, and where their items go.

A campaign's item takes a place only if it is among the candidates, was left by the rules before
and is relevant enough: nobody pays for a place that the item could not have had.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats64

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibleCampaign:
    """A running campaign that may take a sponsored placement.

    Attributes:
        campaign_id: its id.
        label: text that the app must show on the item.
        row: of its item in the release.
        priority: campaigns of a higher priority are placed first.
        shown_today: showings on this device today; frequency capping limits them.
    """

    campaign_id: str
    label: str
    row: int
    priority: int
    shown_today: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A sponsored placement.

    Attributes:
        campaign: the campaign.
        place: rank in the slate, from 1.
        at: position of its item in the list before, from 0.
    """

    campaign: EligibleCampaign
    place: int
    at: int


def placements(
    campaigns: Sequence[EligibleCampaign],
    rows: NDArray[np.int32],
    values: Floats64,
    places: Sequence[int],
    floor: float,
    per_day: int,
    k: int,
) -> list[Placement]:
    """Give the places to the campaigns of the highest priority (ties: relevance, then campaign id).

    An item has one place at most. A place stays organic where no campaign is left for it, and where
    the list, or the slate of k items, ends before it.

    Args:
        campaigns: in any order.
        rows: int32 [n], of the list.
        values: float64 [n], their relevance, 0..1.
        places: rising, from 1.
        floor: least relevance.
        per_day: most showings of a campaign on one day.
        k: length of the slate.
    """
    at_of = {row: at for at, row in enumerate(rows.tolist())}
    able = [
        (-campaign.priority, -values[at], campaign.campaign_id, at, campaign)
        for campaign in campaigns
        if (at := at_of.get(campaign.row)) is not None
        and values[at] >= floor
        and campaign.shown_today < per_day
    ]
    found: dict[int, EligibleCampaign] = {}
    for *_, at, campaign in sorted(able, key=lambda each: each[:3]):
        found.setdefault(at, campaign)
    free = [place for place in places if place <= min(k, len(rows))]
    return [
        Placement(campaign, place, at)
        for place, (at, campaign) in zip(free, found.items(), strict=False)
    ]
