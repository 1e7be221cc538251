"""The state of a phone: the answers of `Device.status` and `Device.interests`."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pocketrec_edge.answers import plain_faults
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.status import LogStatus
from pocketrec_edge.experiments.assigned import Assigned
from pocketrec_edge.faults import Fault, FaultCode, add
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running
from pocketrec_edge.sync import too_new
from pocketrec_edge.user_data import UserData


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
        arms: arm of this phone by running experiment.
        forced: experiments whose arm `Device.force_arm` chose.

    Example:
        >>> from pocketrec_edge.device import Device
        >>> with Device(Path("phone"), bundle=Path("bundle"), engine="onnx") as device:
        ...     status = device.status()
        >>> status.items, status.engine, status.active, status.faults
        (48, 'onnx', None, ())
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
    arms: dict[str, str] = field(default_factory=dict)
    forced: tuple[str, ...] = ()

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


def read_status(
    home: PhoneHome,
    store: Store,
    running: Running,
    user: UserData,
    last_faults: Iterable[Fault],
    arms: tuple[Assigned, ...] = (),
) -> Status:
    """Return the state of a phone.

    Args:
        home: the phone's folder.
        store: its releases.
        running: the release that answers.
        user: the user's data.
        last_faults: of its last slate, and of experiments.
        arms: of this phone.
    """
    faults = [*running.faults, *user.faults]
    logged = None
    if (log := user.log.log) is not None:
        try:
            logged = log.status()
        except EventLogError as err:
            add(faults, Fault(FaultCode.EVENT_LOG_UNREADABLE, str(err)))
    bundle, recommender = running.bundle, running.recommender
    if recommender is not None and recommender.fault:
        add(faults, recommender.fault)
    for fault in last_faults:
        add(faults, fault)
    active, previous = store.active()
    return Status(
        release=bundle.manifest.name if bundle else None,
        items=bundle.item_count if bundle else 0,
        active=active,
        previous=previous,
        refused=blocklist.read(home),
        update_app=too_new.needed_update(home),
        engine=recommender.engine if recommender else None,
        log=logged,
        faults=tuple(faults),
        arms={one.experiment.id: one.reported for one in arms if not one.is_shipped},
        forced=tuple(one.experiment.id for one in arms if one.forced),
    )
