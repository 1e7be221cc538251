"""Halted releases, signed by the brake key, which can stop a release and cannot start one.

FORMAT.md, "Halts". No device installs a halted release that it does not have already.
"""

from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_UTC,
    is_integer,
    is_text,
    parse_json,
    refuse_newer,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.rollout import SHA256

FORMAT = 1
MAX_BYTES = 64 << 10
MAX_HALTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """One halted release.

    Attributes:
        manifest: SHA-256 of its manifest.
        reason: short text for people.
        since_utc: unix seconds.
    """

    manifest: str
    reason: str
    since_utc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Halts:
    """All halted releases of a channel."""

    halted: tuple[Halt, ...] = ()
    format: int = FORMAT

    def reason(self, manifest: str) -> str | None:
        """Return why a release is halted; None: it is not halted."""
        return next((halt.reason for halt in self.halted if halt.manifest == manifest), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"format": self.format, "halted": [asdict(halt) for halt in self.halted]}

    def to_bytes(self) -> bytes:
        """Encode for signing; equal halts give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse the file.
        """
        data = canonical_json(self.to_json())
        Halts.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "Halts":
        """Check and build halts from the bytes of their file.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: the file is too large or not JSON, a key is missing, unknown, of the
                wrong type or out of bounds, or a release comes twice.
        """
        value = parse_json("halts", data, MAX_BYTES)
        refuse_newer("halts", value, FORMAT, "format")
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise BundleInvalidError(f"halts: of another format than {FORMAT}", code="halts")
        if value.keys() != cls.__dataclass_fields__.keys():
            raise BundleInvalidError(f"halts: keys differ from format {FORMAT}", code="halts")
        listed = value["halted"]
        if not isinstance(listed, list) or len(listed) > MAX_HALTS:
            raise BundleInvalidError(
                f"halts: halted must be a list of at most {MAX_HALTS}", code="halts"
            )
        halted = tuple(_halt(number, one) for number, one in enumerate(listed, 1))
        if len({halt.manifest for halt in halted}) < len(halted):
            raise BundleInvalidError("halts: a release stands twice", code="halts")
        return cls(halted=halted)


def _halt(number: int, value: object) -> Halt:
    if not isinstance(value, dict) or value.keys() != Halt.__dataclass_fields__.keys():
        raise BundleInvalidError(
            f"halts: halt {number}: keys differ from format {FORMAT}", code="halts"
        )
    if not isinstance(value["manifest"], str) or not SHA256.fullmatch(value["manifest"]):
        raise BundleInvalidError(
            f"halts: halt {number}: manifest must be 64 hex digits", code="halts"
        )
    if not is_text(value["reason"]):
        raise BundleInvalidError(f"halts: halt {number}: reason must be a short text", code="halts")
    if not is_integer(value["since_utc"], 0, MAX_UTC):
        raise BundleInvalidError(
            f"halts: halt {number}: since_utc must be an integer 0..{MAX_UTC}", code="halts"
        )
    return Halt(**value)
