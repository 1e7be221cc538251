"""Sponsored placements: the campaigns that may be shown now, on this device.

Frequency capping (a maximum of showings a campaign and day) is in `rules/sponsored.py`; the counts
are in `events/frequency_cap.py`.
"""

from collections.abc import Mapping
from functools import cached_property

from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.campaigns import Campaign, Campaigns
from pocketrec_edge.answers import Sponsorship
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign


def sponsorship(campaign: EligibleCampaign | None) -> Sponsorship | None:
    """Return what an item of a slate says of the campaign that it is shown for."""
    return (
        None
        if campaign is None
        else Sponsorship(campaign=campaign.campaign_id, label=campaign.label)
    )


class SponsoredPlacements:
    """Campaigns of a release or an arm; their items are looked up once, when first needed."""

    def __init__(self, bundle: Bundle, campaigns: Campaigns) -> None:
        self._bundle, self.campaigns = bundle, campaigns

    @cached_property
    def _known(self) -> list[tuple[int, Campaign]]:
        """Campaigns with the row of their item; a later catalogue may have taken it away."""
        listed = self.campaigns.campaigns
        found = [(self._bundle.row_of(each.item_id), each) for each in listed]
        return [(row, each) for row, each in found if row >= 0]

    def at(self, now_utc: int, shown_today: Mapping[str, int]) -> tuple[EligibleCampaign, ...]:
        """Return the campaigns that run and whose item may be recommended.

        Args:
            now_utc: unix seconds.
            shown_today: showings on this device by campaign id; 0 if it is missing.
        """
        available = self._bundle.available
        return tuple(
            EligibleCampaign(
                campaign_id=each.id,
                label=each.label,
                row=row,
                priority=each.priority,
                shown_today=shown_today.get(each.id, 0),
            )
            for row, each in self._known
            if each.runs(now_utc) and available[row]
        )
