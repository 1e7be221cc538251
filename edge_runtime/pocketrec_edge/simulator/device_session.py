"""Simulate one phone: the real runtime, driven by a user model and a simulated clock."""

import hashlib
import math
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.experiment_arms import FlagValue
from pocketrec_edge.answers import Answer
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.simulator.device_profiles import DeviceClass, Period, put_off, transfer_s
from pocketrec_edge.simulator.user_model import OPENS_PER_HOUR, Habits, UserModel
from pocketrec_edge.sync.bucket_id import N_BYTES

START_UTC = 1_767_571_200
"""Start of simulated time: Monday, 2026-01-05, 00:00 UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of a run, the same for all phones.

    Attributes:
        bundle: folder of the release that ships with the app, or None.
        server: address of the server; None: phones never sync.
        root: path of the pinned root, see `sync`.
        channel: the channel to follow.
        engine: the inference engine.
        minutes: length of the simulated time.
        anytime: sync also on metered networks and on battery.
        sync_every_min: minutes between two syncs.
        consent: users agree that events are sent.
        seed: seed of all random draws.
        k: slate size; None: the release's.
        start_utc: start of simulated time, unix seconds.
        opens_per_hour: mean rate at which a user opens the app.
        experiment: id of the experiment that is observed; None: none.
        flags: flags that the app reads when it is opened, with their defaults.
        appeal: by arm of the experiment, the factor of the click probabilities of its users.
        syncs_at_end: sync once more at the end, on any network, so that all events are sent.
    """

    bundle: str | None
    server: str | None
    root: str | None
    channel: str
    engine: str
    minutes: float
    anytime: bool
    sync_every_min: float
    consent: bool
    seed: int
    k: int | None = None
    start_utc: int = START_UTC
    opens_per_hour: float = OPENS_PER_HOUR
    experiment: str | None = None
    flags: dict[str, FlagValue] = field(default_factory=dict)
    appeal: dict[str, float] = field(default_factory=dict)
    syncs_at_end: bool = False


@dataclass(slots=True, kw_only=True)
class SessionResult:
    """The result of one phone. Times in ms are measured on this machine; sync_s is modelled.

    Attributes:
        release: name of the active release at the end.
        total_ms: time of each slate, all stages without the log.
        first_ms: time from opening the app to its first slate, with log and disk.
        sources: number of answers by source.
        faults: number of faults by text.
        put_off: number of syncs that had to wait, by reason.
        unanswered: requests without items although a release was installed.
        acts: interactions of the user.
        events: events in the log, of all kinds.
        events_sent: events that the server accepted.
        syncs: completed syncs.
        installs: installed releases.
        bytes_down: bytes received by syncs.
        sync_s: modelled transfer time of syncs, in seconds.
        arm: arm of the observed experiment in the last slate; None: no slate had one.
        shown: impressions of slates that the arm applied to.
        clicks: of these impressions.
        expected_clicks: sum of the click probabilities of these impressions, by the user model.
    """

    release: str | None = None
    total_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    acts: int = 0
    events: int = 0
    events_sent: int = 0
    syncs: int = 0
    installs: int = 0
    bytes_down: int = 0
    sync_s: float = 0.0
    arm: str | None = None
    shown: int = 0
    clicks: int = 0
    expected_clicks: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SessionResult":
        """Build a result from `to_json`."""
        counters = ("sources", "faults", "put_off")
        return cls(**value | {name: Counter(value[name]) for name in counters})


def run_session(kind: DeviceClass, plan: Plan, home: Path, name: str) -> SessionResult:
    """Simulate one phone for the plan's minutes.

    Args:
        kind: the phone's class.
        plan: settings of the run.
        home: the phone's folder.
        name: unique name of the phone; it seeds the random draws, with the plan's seed.
    """
    return _Phone(kind, plan, home, f"{plan.seed} {name}").run_session()


class _Phone:
    def __init__(self, kind: DeviceClass, plan: Plan, home: Path, seed: str) -> None:
        self._kind, self._plan, self._home = kind, plan, home
        self._seed = seed
        self._user = UserModel(Habits(opens_per_hour=plan.opens_per_hour), seed)
        self._rng = np.random.default_rng(list(seed.encode()))
        self._now = float(plan.start_utc)
        self._next_sync = 0.0  # minutes
        self._result = SessionResult()

    def run_session(self) -> SessionResult:
        plan, result = self._plan, self._result
        self._draw_bucket_id()
        device = self._open()
        if plan.bundle is not None:
            try:
                device.install(Path(plan.bundle))
                result.installs += 1
            except PocketRecError as err:
                self._fault(err)
        device.close()
        for minute in self._user.opens(plan.minutes):
            self._sync_until(minute)
            self._at(minute)
            self._use()
        self._sync_until(math.nextafter(plan.minutes, 0))
        if plan.syncs_at_end and plan.server is not None:
            self._at(plan.minutes)
            self._exchange(plan.server, None)
        device = self._open()
        status = device.status()
        device.close()
        result.release = status.release
        result.events = 0 if status.log is None else status.log.events
        return result

    def _draw_bucket_id(self) -> None:
        """Draw by the seed, so that the same seed gives the same rollouts and arms."""
        path = PhoneHome(self._home).bucket_id
        if not path.exists():
            drawn = hashlib.sha256(f"bucket {self._seed}".encode()).hexdigest()
            write_private(path, drawn[: 2 * N_BYTES].encode())

    def _open(self) -> Device:
        return Device(
            self._home,
            engine=self._plan.engine,
            clock=lambda: self._now,
            rng=self._rng,
            storage_bytes=self._kind.storage_bytes,
        )

    def _at(self, minute: float) -> None:
        self._now = max(
            self._now, self._plan.start_utc + minute * 60
        )  # a session may last into the next

    def _use(self) -> None:
        """Open the app, look at slates and interact; closing the app unloads the models."""
        started = time.perf_counter()
        device = self._open()
        try:
            for name, default in self._plan.flags.items():
                device.flag(name, default)  # type: ignore[type-var]  # one of its four types
            answer = self._ask(device, 1, None)
            self._result.first_ms.append((time.perf_counter() - started) * 1000)
            while self._look(device, answer):
                answer = self._ask(device, (answer.page or 0) + 1, answer.session)
        finally:
            device.close()

    def _ask(self, device: Device, page: int, session: str | None) -> Answer:
        result = self._result
        answer = device.recommend(self._plan.k, page=page, session=session)
        if answer.stage_ms:
            result.total_ms.append(answer.stage_ms["total"])
        result.sources[answer.source] += 1
        for fault in answer.faults:
            self._fault(fault)
        installed = device.bundle is not None or device.store.active()[0] is not None
        result.unanswered += page == 1 and installed and not answer.items
        return answer

    def _look(self, device: Device, answer: Answer) -> bool:
        """Interact with the items shown; return whether the user wants the next page."""
        arm = answer.arms.get(self._plan.experiment or "")
        self._result.arm = arm or self._result.arm
        appeal = self._plan.appeal.get(arm or "", 1.0)
        for place, item in enumerate(answer.items, 1):
            if arm is not None:
                self._result.shown += 1
                self._result.expected_clicks += self._user.chance(item.item_id, place, appeal)
            if not self._user.takes(item.item_id, place, appeal):
                continue
            self._now += self._user.habits.act_s
            event = self._user.chooses(device.event_types())
            try:
                device.feedback(item.item_id, event, request=answer.request)
                self._result.acts += 1
                self._result.clicks += arm is not None
            except EventLogError as err:
                self._fault(err)
        return bool(answer.items) and self._user.goes_on(answer.page or 1)

    def _sync_until(self, minute: float) -> None:
        while self._plan.server is not None and self._next_sync <= minute:
            self._at(self._next_sync)
            self._sync(self._plan.server)
            self._next_sync += self._plan.sync_every_min

    def _sync(self, server: str) -> None:
        period = self._period()
        dropped = self._user.drops(self._kind.offline_share)
        if why := put_off(period, dropped=dropped, anytime=self._plan.anytime):
            self._result.put_off[why] += 1
            return
        self._exchange(server, period)

    def _period(self) -> Period:
        elapsed_h = (self._now - self._plan.start_utc) / 3600
        return self._kind.at((self._user.day_begins_h + elapsed_h) % 24)

    def _exchange(self, server: str, period: Period | None) -> None:
        """Sync with the server; without a period, no transfer time is modelled."""
        plan, result = self._plan, self._result
        from pocketrec_edge.sync.client import sync  # python-tuf; a run without a server needs none

        def self_test(bundle: Bundle) -> int:
            return replay(bundle, plan.engine)

        try:
            report = sync(
                self._home,
                server,
                self_test,
                channel=plan.channel,
                root_path=Path(plan.root) if plan.root else None,
                consent=plan.consent,
                storage_bytes=self._kind.storage_bytes,
                device_class=self._kind.name,
                engine=plan.engine,
            )
        except PocketRecError as err:
            self._fault(err)
            return
        result.syncs += 1
        result.installs += report.status == "updated"
        result.bytes_down += report.bytes_down
        result.events_sent += report.events_sent
        if report.events_fault:
            self._fault(report.events_fault)
        if period is not None:
            n_bytes = report.bytes_down + report.bytes_up
            result.sync_s += transfer_s(period, report.requests, n_bytes)

    def _fault(self, fault: object) -> None:
        text = str(fault).replace(str(self._home), "HOME")  # the same text for every phone
        self._result.faults[text] += 1
