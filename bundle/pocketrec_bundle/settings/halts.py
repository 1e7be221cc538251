"""Halted releases, signed by the brake key, which can stop a release and cannot start one.

FORMAT.md, "Halts". No device installs a halted release that it does not have already.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.encoding.strict_json import (
    MAX_TEXT,
    MAX_UTC,
    is_integer,
    is_text,
    matches,
    parse_json,
    refuse_newer,
)
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.rollout import SHA256

FORMAT = 1
MAX_BYTES = 64 << 10
MAX_HALTS = 64
T = TypeVar("T")
Check = tuple[str, Callable[[object], bool]]
"""Form of a value, for people, and its check."""

WHY_AND_WHEN: Mapping[str, Check] = {
    "reason": (f"a text of at most {MAX_TEXT} characters", is_text),
    "since_utc": (f"an integer 0..{MAX_UTC}", lambda value: is_integer(value, 0, MAX_UTC)),
}
"""Keys that each entry of a file of halts has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltsForm(Generic[T]):
    """Form of a file of halts: `format` and `halted`, a list of objects.

    Attributes:
        file: its name in errors.
        entry: name of one object in errors.
        what: is halted, in errors.
        kind: dataclass of an object.
        keys: form and check of each of its keys.
        key_of: returns what an object halts; it comes once.
    """

    file: str
    entry: str
    what: str
    kind: type[T]
    keys: Mapping[str, Check]
    key_of: Callable[[T], Hashable]

    def read(self, data: bytes) -> tuple[T, ...]:
        """Check and return the objects of a file.

        Raises:
            BundleTooNewError: the format is later than this app knows.
            BundleInvalidError: the file is too large or not JSON, a key is missing, unknown, of the
                wrong type or out of bounds, or an object comes twice.
        """
        value = parse_json(self.file, data, MAX_BYTES)
        refuse_newer(self.file, value, FORMAT, "format")
        if not isinstance(value, dict) or not is_integer(value.get("format"), FORMAT, FORMAT):
            raise self._invalid(f"of another format than {FORMAT}")
        if value.keys() != {"format", "halted"}:
            raise self._invalid(f"keys differ from format {FORMAT}")
        listed = value["halted"]
        if not isinstance(listed, list) or len(listed) > MAX_HALTS:
            raise self._invalid(f"halted must be a list of at most {MAX_HALTS}")
        halted = tuple(self._entry(number, one) for number, one in enumerate(listed, 1))
        if len({self.key_of(each) for each in halted}) < len(halted):
            raise self._invalid(f"{self.what} stands twice")
        return halted

    def to_bytes(self, halted: tuple[Any, ...]) -> bytes:
        """Encode for signing; equal halts give equal bytes.

        Raises:
            BundleInvalidError: a device would refuse the file.
        """
        data = canonical_json({"format": FORMAT, "halted": [asdict(each) for each in halted]})
        self.read(data)
        return data

    def _entry(self, number: int, value: Any) -> T:
        where = f"{self.entry} {number}"
        if not isinstance(value, dict) or value.keys() != self.keys.keys():
            raise self._invalid(f"{where}: keys differ from format {FORMAT}")
        for key, (form, holds) in self.keys.items():
            if not holds(value[key]):
                raise self._invalid(f"{where}: {key} must be {form}")
        return self.kind(**value)

    def _invalid(self, problem: str) -> BundleInvalidError:
        return BundleInvalidError(f"{self.file}: {problem}", code="halts")


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


_FORM = HaltsForm(
    file="halts",
    entry="halt",
    what="a release",
    kind=Halt,
    keys={"manifest": ("64 hex digits", lambda value: matches(SHA256, value)), **WHY_AND_WHEN},
    key_of=lambda halt: halt.manifest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halts:
    """All halted releases of a channel."""

    halted: tuple[Halt, ...] = ()

    def reason(self, manifest: str) -> str | None:
        """Return why a release is halted; None: it is not halted."""
        return next((halt.reason for halt in self.halted if halt.manifest == manifest), None)

    def to_bytes(self) -> bytes:
        """Encode for signing; see `HaltsForm.to_bytes`."""
        return _FORM.to_bytes(self.halted)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Halts":
        """Check and build halts from the bytes of their file; see `HaltsForm.read`."""
        return cls(halted=_FORM.read(data))
