"""The warning on every page of the site: signed metadata that has expired, or expires soon.

Phones refuse expired metadata. A role is named once less than a sixth of its lifetime is left: a
day of the timestamp's seven, a month of a channel's six.
"""

from dataclasses import dataclass
from pathlib import Path

from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.roles import ONLINE, ROOT, SNAPSHOT, TIMESTAMP, lifetime

COMMAND = "pocketrec refresh --repo repo/ --keys keys/"
_PART = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Roles with the seconds that are left of each, and what signs them again.

    Attributes:
        expired: roles that phones refuse now; seconds below 0.
        soon: roles that expire next.
        keys: what `pocketrec refresh` needs to sign all of them again.
        by_server: whether a server with its keys would do it by itself.
    """

    expired: tuple[tuple[str, int], ...]
    soon: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    by_server: bool


def banner(repo: Path, now_utc: int) -> Banner | None:
    """Return the warning for a repository; None: all is good for a while, or nothing is there."""
    left = {role: at - now_utc for role, at in sorted(expiries(repo).items())}
    expired = tuple((role, s) for role, s in left.items() if s <= 0)
    soon = tuple(
        (role, s) for role, s in left.items() if 0 < s < lifetime(role).total_seconds() / _PART
    )
    if not expired and not soon:
        return None
    roles = [role for role, _ in expired + soon]
    needed = dict.fromkeys([*roles, SNAPSHOT, TIMESTAMP])
    return Banner(
        expired=expired,
        soon=soon,
        keys=tuple("two of root" if role == ROOT else role for role in needed),
        by_server=all(role in ONLINE for role in roles),
    )
