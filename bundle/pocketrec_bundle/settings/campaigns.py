"""Campaigns: items whose display is paid for, signed with a release in `campaigns.json`."""

from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import (
    MAX_TEXT,
    MAX_UTC,
    is_integer,
    is_text,
    refuse_newer,
    shown,
)
from pocketrec_bundle.errors import BundleInvalidError

FILE = "campaigns.json"
MAX_CAMPAIGNS = 1000
MAX_ITEM_ID = 1000
MAX_PRIORITY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One item that may be shown as sponsored.

    Attributes:
        id: of the campaign.
        item_id: the item it shows.
        label: text that the app must write on the item, such as "Sponsored".
        from_utc: unix seconds; the campaign runs from here.
        until_utc: unix seconds; the campaign runs until before this.
        priority: the highest comes first.
    """

    id: str
    item_id: str
    label: str
    from_utc: int
    until_utc: int
    priority: int

    def runs(self, now_utc: int) -> bool:
        """Whether the campaign runs at a time."""
        return self.from_utc <= now_utc < self.until_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaigns:
    """All campaigns of a release."""

    campaigns: tuple[Campaign, ...]
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `campaigns.json`."""
        return {"version": self.version, "campaigns": [asdict(each) for each in self.campaigns]}

    @classmethod
    def from_json(cls, value: object) -> "Campaigns":
        """Check and build campaigns from parsed JSON.

        Raises:
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds, or
                two campaigns have the same id.
        """
        refuse_newer(FILE, value)
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError(f"{FILE}: keys differ from version 1", code="campaigns_keys")
        if not is_integer(value["version"], 1, 1):
            raise BundleInvalidError(
                f"{FILE}: version {shown(value['version'])} is not 1", code="campaigns_value"
            )
        listed = value["campaigns"]
        if not isinstance(listed, list) or len(listed) > MAX_CAMPAIGNS:
            raise BundleInvalidError(
                f"{FILE}: campaigns must be a list of at most {MAX_CAMPAIGNS}",
                code="campaigns_value",
            )
        campaigns = tuple(_campaign(number, each) for number, each in enumerate(listed, 1))
        if len({each.id for each in campaigns}) < len(campaigns):
            raise BundleInvalidError(f"{FILE}: an id stands twice", code="campaigns_value")
        return cls(campaigns=campaigns)


def _campaign(number: int, value: object) -> Campaign:
    if not isinstance(value, dict) or value.keys() != Campaign.__dataclass_fields__.keys():
        raise BundleInvalidError(
            f"{FILE}: campaign {number}: keys differ from version 1", code="campaigns_keys"
        )
    for key, longest in (("id", MAX_TEXT), ("item_id", MAX_ITEM_ID), ("label", MAX_TEXT)):
        if not is_text(value[key], longest) or not value[key].strip():
            raise BundleInvalidError(
                f"{FILE}: campaign {number}: {key} must be a text of 1..{longest} characters",
                code="campaigns_value",
            )
    for key, most in (("from_utc", MAX_UTC), ("until_utc", MAX_UTC), ("priority", MAX_PRIORITY)):
        if not is_integer(value[key], 0, most):
            raise BundleInvalidError(
                f"{FILE}: campaign {number}: {key} must be an integer 0..{most}",
                code="campaigns_value",
            )
    if value["from_utc"] >= value["until_utc"]:
        raise BundleInvalidError(
            f"{FILE}: campaign {number}: from_utc must be before until_utc", code="campaigns_value"
        )
    return Campaign(**value)
