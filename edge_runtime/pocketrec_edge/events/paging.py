"""Paging without repeated items, even if history or release change between pages.

`sessions.json` in the phone's folder stores the items of each page of a session. A page requested
again is returned unchanged. A new page has only items that no earlier page has shown.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.answers import SlateItem
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.private_files import write_private

LIFE_S = 1800
"""Seconds without a request after which a session expires; the ranker's features use the same."""
MAX_SESSIONS = 8
MAX_ITEMS = 1000
"""Maximum items of a session."""
MAX_FILE_BYTES = 16 << 20


@dataclass(slots=True, kw_only=True)
class Session:
    """One list.

    Attributes:
        token: random id of the session.
        used_utc: time of the last request, unix seconds.
        pages: items of each page, as shown.
        requests: id of each page's request, for `Device.feedback`; None: nothing was logged.
        arms: of this device when each page was made, by experiment.
    """

    token: str
    used_utc: int
    pages: list[tuple[SlateItem, ...]] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)
    arms: list[dict[str, str]] = field(default_factory=list)

    def add(
        self, items: tuple[SlateItem, ...], request: str | None, arms: Mapping[str, str]
    ) -> None:
        """Append the next page; request: id of its logged request, or None; arms: see `Answer`."""
        self.pages.append(items)
        self.requests.append(request)
        self.arms.append(dict(arms))

    def shown(self) -> list[str]:
        """Return the ids of all items shown."""
        return [item.item_id for page in self.pages for item in page]

    def plain(self) -> dict[str, Any]:
        """Return plain values, as `sessions.json` has them."""
        pages = [[item.plain() for item in page] for page in self.pages]
        return {
            "token": self.token,
            "used_utc": self.used_utc,
            "pages": pages,
            "requests": self.requests,
            "arms": self.arms,
        }


class Sessions:
    """The sessions of one phone. On a write error they stay in memory, with a fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sessions: dict[str, Session] = {}
        self.fault: Fault | None = None
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError("it is too large")
            for value in json.loads(path.read_bytes()):
                session = _session(value)
                self._sessions[session.token] = session
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
            self._sessions = {}
            self.fault = Fault(
                FaultCode.SESSIONS_UNREADABLE,
                f"{path}: no sessions can be read ({err}); lists begin at page 1.",
            )

    def open(self, token: str | None, now_utc: int) -> Session:
        """Return the session of a token; a new session if it is unknown or has expired."""
        found = self._sessions.get(token) if token is not None else None
        if found is None or now_utc - found.used_utc > LIFE_S:
            found = Session(token=str(uuid.uuid4()), used_utc=now_utc)
        found.used_utc = now_utc
        return found

    def keep(self, session: Session, now_utc: int) -> Fault | None:
        """Store a session; remove expired and least recently used ones; return a fault or None."""
        others = [s for s in self._sessions.values() if s.token != session.token]
        alive = [s for s in others if now_utc - s.used_utc <= LIFE_S]
        alive.sort(key=lambda s: s.used_utc)
        kept = [*alive[-(MAX_SESSIONS - 1) :], session]
        self._sessions = {s.token: s for s in kept}
        try:
            write_private(self._path, canonical_json([s.plain() for s in kept]))
        except PocketRecError as err:
            return Fault(FaultCode.SESSION_NOT_KEPT, str(err))
        self.fault = None
        return None


def _session(value: Any) -> Session:
    pages = [tuple(SlateItem.of(item) for item in page) for page in value["pages"]]
    requests = value.get("requests", [None] * len(pages))  # earlier versions wrote none
    arms = [dict(each) for each in value.get("arms", [{}] * len(pages))]
    session = Session(
        token=value["token"],
        used_utc=value["used_utc"],
        pages=pages,
        requests=[*requests],
        arms=arms,
    )
    if not len(session.requests) == len(arms) == len(pages) or not all(
        each is None or isinstance(each, str) for each in session.requests
    ):
        raise TypeError("a session needs one request for each page")
    if not all(isinstance(text, str) for each in arms for text in (*each, *each.values())):
        raise TypeError("arms must be texts")
    if not isinstance(session.token, str) or type(session.used_utc) is not int:
        raise TypeError("a token or time of the wrong type")
    return session
