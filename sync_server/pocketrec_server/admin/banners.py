"""The warning on every page of the site: signed metadata that has expired, or expires soon.

Devices reject expired metadata. The warning names a role when less than a sixth of its lifetime is
left: about 1 of 7 days for the timestamp, 1 of 6 months for a channel.
"""

from dataclasses import dataclass
from pathlib import Path

from pocketrec_server.repository.expiry import expiries
from pocketrec_server.repository.roles import ONLINE, ROOT, SNAPSHOT, TIMESTAMP, lifetime

COMMAND = "pocketrec refresh --repo repo/ --keys keys/"
_PART = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Roles to renew, with the seconds until they expire.

    Attributes:
        expired: expired roles, which devices reject; seconds below 0.
        soon: roles that expire soon.
        keys: keys that `pocketrec refresh` needs to renew all of them.
        by_server: whether a server with these keys renews them automatically.
    """

    expired: tuple[tuple[str, int], ...]
    soon: tuple[tuple[str, int], ...]
    keys: tuple[str, ...]
    by_server: bool


def banner(repo: Path, now_utc: int) -> Banner | None:
    """Return the warning of a repository; None if no role expires soon."""
    left = {role: expires_utc - now_utc for role, expires_utc in sorted(expiries(repo).items())}
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
