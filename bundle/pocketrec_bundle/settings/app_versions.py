"""Versions of the app, which a release or an experiment may require."""

import re
from dataclasses import dataclass

APP_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppVersions:
    """App versions that a release supports.

    Attributes:
        least: minimum version; None: any.
        below: all supported versions are lower than this; None: any.
    """

    least: str | None = None
    below: str | None = None


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a dotted version for comparison; 1.2 and 1.2.0 are equal."""
    numbers = [int(part) for part in text.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def fits(app: AppVersions, version: str | None) -> bool:
    """Return whether an app's own version is one of those required; None: unknown.

    The numbers at the start of the version count, as in 1.2.3-beta or 2.0 (build 7).

    Example:
        >>> app = AppVersions(least="1.2", below="2")
        >>> fits(app, "1.2-beta"), fits(app, "2.0"), fits(app, None), fits(AppVersions(), None)
        (True, False, False, True)
    """
    if app.least is None and app.below is None:
        return True
    found = re.match(APP_VERSION, version or "")
    if found is None:
        return False
    numbers = version_of(found[0])
    if app.least is not None and numbers < version_of(app.least):
        return False
    return app.below is None or numbers < version_of(app.below)
