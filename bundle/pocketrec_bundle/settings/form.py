"""Check the form of parsed JSON against a dataclass: its keys, then one value after the other."""

from dataclasses import dataclass
from typing import Any

from pocketrec_bundle.errors import BundleInvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one signed file refuses values.

    Attributes:
        code: of its errors.
        format: number of its format.
    """

    code: str
    format: int

    def keyed(self, where: str, value: object, kind: type) -> dict[str, Any]:
        """Check that a value is an object with exactly the keys of a dataclass, and return it.

        Raises:
            BundleInvalidError: it is not.
        """
        fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
        if not isinstance(value, dict) or value.keys() != fields.keys():
            raise BundleInvalidError(
                f"{where}: keys differ from format {self.format}", code=self.code
            )
        return value

    def insist(self, where: str, key: str, wanted: str, holds: object) -> None:
        """Refuse a value unless a check holds.

        Raises:
            BundleInvalidError: it does not; the message has `wanted`.
        """
        if not holds:
            raise BundleInvalidError(f"{where}: {key} must be {wanted}", code=self.code)
