"""What a phone has, logged and lacks: the answers of `Device.status` and `Device.interests`."""

from dataclasses import asdict, dataclass
from typing import Any

from pocketrec_edge.answers import plain_faults
from pocketrec_edge.events.status import LogStatus
from pocketrec_edge.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of one phone.

    Attributes:
        release: name of the release that answers; None if no release opens.
        items: number of items in that release.
        active: manifest hash of the active release; None before the first install.
        previous: manifest hash of the previous release, which answers if the active one cannot.
        refused: "failed" or "killed" by manifest hash: releases that must not run here.
        update_app: why a newer version of the app is needed; None if it is not.
        engine: that runs the models; None if no release opens.
        log: what the event log holds; None if it cannot be read.
        faults: those that last, and those of the last slate.
    """

    release: str | None
    items: int
    active: str | None
    previous: str | None
    refused: dict[str, str]
    update_app: str | None
    engine: str | None
    log: LogStatus | None
    faults: tuple[Fault, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON; the keys of `log` stand beside the others."""
        found = {name: getattr(self, name) for name in self.__slots__ if name != "log"}
        logged = {} if self.log is None else asdict(self.log)
        faults = plain_faults(found.pop("faults"))
        return found | logged | faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Interests:
    """The categories that a user chose, and those that the release offers.

    Attributes:
        chosen: names, in the user's order.
        offered: names, those of the most items first; empty without a release.
        faults: those that last.
    """

    chosen: tuple[str, ...]
    offered: tuple[str, ...]
    faults: tuple[Fault, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON: `faults` are texts, `fault_codes` their codes."""
        return asdict(self) | plain_faults(self.faults)
