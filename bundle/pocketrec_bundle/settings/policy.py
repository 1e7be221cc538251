"""Re-ranking and retrieval settings that travel, signed, with a release (`policy.json`)."""

from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.encoding.strict_json import is_integer, is_number, refuse_newer
from pocketrec_bundle.errors import BundleInvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Settings of search and re-ranking; FORMAT.md, "policy.json".

    Attributes:
        slate: length of a slate, unless the app asks for another.
        category_cap: maximum items of one first category in a slate; 0: no cap.
        near_duplicate_cosine: of two items with this cosine or more, only the better is shown.
        probes: cells to scan (nprobe); 0: all.
        candidates: items handed to the ranker.
        repeats: items of the user's history may be shown again.
        version: of `policy.json`.
    """

    slate: int
    category_cap: int
    near_duplicate_cosine: float
    probes: int
    candidates: int
    repeats: bool = False
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `policy.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "Policy":
        """Check and build a policy from parsed JSON.

        Raises:
            BundleTooNewError: the version is later than 1.
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        refuse_newer("policy.json", value)
        if not isinstance(value, dict) or value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError("policy.json: keys differ from version 1", code="policy_keys")
        bounds = {
            "slate": (1, 1000),
            "category_cap": (0, 1000),
            "probes": (0, 1 << 24),
            "candidates": (1, 65_536),
            "version": (1, 1),
        }
        for key, (low, high) in bounds.items():
            if not is_integer(value[key], low, high):
                raise BundleInvalidError(
                    f"policy.json: {key} must be an integer {low}..{high}", code="policy_value"
                )
        if not is_number(value["near_duplicate_cosine"], 0.0, 2.0):
            raise BundleInvalidError(
                "policy.json: near_duplicate_cosine must be a number 0..2", code="policy_value"
            )
        if type(value["repeats"]) is not bool:
            raise BundleInvalidError(
                "policy.json: repeats must be true or false", code="policy_value"
            )
        return cls(**value)
