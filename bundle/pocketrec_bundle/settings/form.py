"""Check the form of parsed JSON against a dataclass: its keys, then one value after the other.

A key that a later format added has the metadata `since(format)`. A file of an earlier format lacks
it, and its default holds.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from pocketrec_bundle.errors import BundleInvalidError

_SINCE = "since"
_FIRST = 1


def since(format_: int) -> Mapping[str, int]:
    """Return the metadata of a field that a format added; the field needs a default.

    Example:
        >>> from dataclasses import dataclass, field
        >>> @dataclass
        ... class Arm:
        ...     name: str
        ...     models: str | None = field(default=None, metadata=since(2))
        >>> oldest_format(Arm("a")), oldest_format(Arm("a", "large"))
        (1, 2)
        >>> plain(Arm("a"), 1), plain(Arm("a"), 2)
        ({'name': 'a'}, {'name': 'a', 'models': None})
    """
    return {_SINCE: format_}


def oldest_format(value: Any) -> int:
    """Return the oldest format that holds a dataclass: that of its newest key with a value."""
    if isinstance(value, list | tuple):
        return max(map(oldest_format, value), default=_FIRST)
    if not is_dataclass(value):
        return _FIRST
    found = _FIRST
    for one in fields(value):
        part = getattr(value, one.name)
        added = _FIRST if part == _default(one) else _since(one)
        found = max(found, added, oldest_format(part))
    return found


def plain(value: Any, format_: int) -> Any:
    """Return a dataclass as plain JSON values, with the keys of a format."""
    if is_dataclass(value):
        return {
            one.name: plain(getattr(value, one.name), format_)
            for one in fields(value)
            if _since(one) <= format_
        }
    if isinstance(value, list | tuple):
        return [plain(one, format_) for one in value]
    if isinstance(value, Mapping):
        return {key: plain(one, format_) for key, one in value.items()}
    return value


def _since(one: Field[Any]) -> int:
    return int(one.metadata.get(_SINCE, _FIRST))


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one signed file refuses values.

    Attributes:
        code: of its errors.
        format: number of its newest format.
    """

    code: str
    format: int

    def keyed(
        self, where: str, value: object, kind: type, format_: int | None = None
    ) -> dict[str, Any]:
        """Check that a value is an object with exactly the keys of a dataclass, and return it.

        Args:
            where: begin of the error's text.
            value: parsed JSON.
            kind: the dataclass.
            format_: of the file; None: the newest. Keys of later formats have their defaults.

        Raises:
            BundleInvalidError: it is not.
        """
        format_ = self.format if format_ is None else format_
        known = fields(kind)
        wanted = {one.name for one in known if _since(one) <= format_}
        if not isinstance(value, dict) or value.keys() != wanted:
            raise BundleInvalidError(f"{where}: keys differ from format {format_}", code=self.code)
        return {one.name: _default(one) for one in known if one.name not in wanted} | value

    def insist(self, where: str, key: str, wanted: str, holds: object) -> None:
        """Refuse a value unless a check holds.

        Raises:
            BundleInvalidError: it does not; the message has `wanted`.
        """
        if not holds:
            raise BundleInvalidError(f"{where}: {key} must be {wanted}", code=self.code)
