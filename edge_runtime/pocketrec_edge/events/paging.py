"""Pages of one list that never repeat, though history and release change between them.

`sessions.json` of the phone's home remembers what each page of a session showed. A page asked for
again comes back as it was; the next one is made anew, from what no page of the session has shown.
"""

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_bundle.errors import PocketRecError
from pocketrec_edge.answers import SlateItem
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.private_files import write_private

LIFE_S = 1800
"""A session ends after so long without a page (30 minutes, as in the ranker's features)."""
MAX_SESSIONS = 8
MAX_ITEMS = 1000
"""Of one session; a list ends there."""
MAX_FILE_BYTES = 16 << 20


@dataclass(slots=True, kw_only=True)
class Session:
    """One list; used_utc: when a page was last asked for; pages: items as they were shown."""

    token: str
    used_utc: int
    pages: list[tuple[SlateItem, ...]] = field(default_factory=list)

    def shown(self) -> list[str]:
        """Ids of all items shown."""
        return [item.item_id for page in self.pages for item in page]

    def plain(self) -> dict[str, Any]:
        """Return plain values, as `sessions.json` has them."""
        pages = [[item.plain() for item in page] for page in self.pages]
        return {"token": self.token, "used_utc": self.used_utc, "pages": pages}


class Sessions:
    """The sessions of one phone. What cannot be written is kept in memory, with a fault."""

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
        """Return the session of a token, or a new one where it is unknown or has ended."""
        found = self._sessions.get(token) if token is not None else None
        if found is None or now_utc - found.used_utc > LIFE_S:
            found = Session(token=str(uuid.uuid4()), used_utc=now_utc)
        found.used_utc = now_utc
        return found

    def keep(self, session: Session, now_utc: int) -> Fault | None:
        """Remember a session, forget ended ones and the longest unused; returns what went wrong."""
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
    session = Session(token=value["token"], used_utc=value["used_utc"], pages=pages)
    if not isinstance(session.token, str) or type(session.used_utc) is not int:
        raise TypeError("a token or time of the wrong type")
    return session
