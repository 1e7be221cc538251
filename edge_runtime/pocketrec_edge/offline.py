"""Refuse sockets for the rest of the process, so that "offline" is a fact and not a promise."""

import sys
from typing import Any

from pocketrec_edge.errors import OfflineError

_state = {"refusing": False, "installed": False}


def forbid_sockets() -> None:
    """Make every creation or use of a socket raise `OfflineError`, for good.

    An audit hook (PEP 578) sees sockets made by any module, and cannot be removed again.
    """
    _state["refusing"] = True
    if not _state["installed"]:
        sys.addaudithook(_refuse)
        _state["installed"] = True


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith("socket.") and _state["refusing"]:
        raise OfflineError(f"offline: refused {event}{args[1:3]!r}")
