"""Simulate one phone: the real runtime, driven by a user model and a simulated clock."""

import hashlib
import math
import time
from pathlib import Path

import numpy as np

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.answers import Answer
from pocketrec_edge.device import Device
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.private_files import write_private
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.simulator.device_profiles import DeviceClass, Period, put_off, transfer_s
from pocketrec_edge.simulator.loopback_networks import address_in
from pocketrec_edge.simulator.plan import Plan
from pocketrec_edge.simulator.session_result import SessionResult
from pocketrec_edge.simulator.user_model import Habits, UserModel
from pocketrec_edge.sync.bucket_id import N_BYTES


class Phone:
    """One phone of a run.

    Call `live_until` with rising minutes, the last of them the plan's, then `end`. Pauses between
    two calls change nothing that the phone does.
    """

    def __init__(
        self, kind: DeviceClass, plan: Plan, home: Path, name: str, number: int = 0
    ) -> None:
        """Make a phone that does not live yet.

        Args:
            kind: the phone's class.
            plan: settings of the run.
            home: the phone's folder.
            name: unique name of the phone; it seeds the random draws, with the plan's seed.
            number: of the phone in the fleet, from 0; it decides its network.
        """
        self._kind, self._plan, self._home = kind, plan, home
        self._seed = f"{plan.seed} {name}"
        self._address = address_in(number % plan.networks) if plan.networks > 1 else None
        self._user = UserModel(Habits(opens_per_hour=plan.opens_per_hour), self._seed)
        self._opens = self._user.opens(plan.minutes)
        self._next_open: float | None = None  # minutes; None: never again
        self._begun = False
        self._rng = np.random.default_rng(list(self._seed.encode()))
        self._now = float(plan.start_utc)
        self._next_sync = 0.0  # minutes
        self._result = SessionResult()

    def live_until(self, minute: float) -> None:
        """Open the app and sync at all times before a minute of the run."""
        if not self._begun:
            self._begin()
        while self._next_open is not None and self._next_open < minute:
            self._sync_until(self._next_open)
            self._at(self._next_open)
            self._use()
            self._next_open = next(self._opens, None)
        self._sync_until(math.nextafter(min(minute, self._plan.minutes), 0))

    def end(self) -> SessionResult:
        """Sync once more if the plan asks for it, and return what the phone did."""
        plan, result = self._plan, self._result
        if plan.syncs_at_end and plan.server is not None:
            self._at(plan.minutes)
            self._exchange(plan.server, None)
        device = self._open()
        status = device.status()
        device.close()
        result.release = status.release
        result.events = 0 if status.log is None else status.log.events
        return result

    def _begin(self) -> None:
        """Install the release that ships with the app."""
        self._begun = True
        self._draw_bucket_id()
        device = self._open()
        if self._plan.bundle is not None:
            try:
                device.install(Path(self._plan.bundle))
                self._result.installs += 1
            except PocketRecError as err:
                self._fault(err)
        device.close()
        self._next_open = next(self._opens, None)

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
            self._result.left_arm = self._result.arm is not None and self._arm_of(answer) is None
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
        arm = self._arm_of(answer)
        self._result.arm = arm or self._result.arm
        counts = self._result.arm is not None  # also after a halt, as the report counts
        appeal = self._plan.appeal.get(arm or "", 1.0)
        for place, item in enumerate(answer.items, 1):
            if counts:
                self._result.shown += 1
                self._result.expected_clicks += self._user.chance(item.item_id, place, appeal)
            if not self._user.takes(item.item_id, place, appeal):
                continue
            self._now += self._user.habits.act_s
            event = self._user.chooses(device.event_types())
            try:
                device.feedback(item.item_id, event, request=answer.request)
                self._result.acts += 1
                self._result.clicks += counts
            except EventLogError as err:
                self._fault(err)
        return bool(answer.items) and self._user.goes_on(answer.page or 1)

    def _arm_of(self, answer: Answer) -> str | None:
        return answer.arms.get(self._plan.experiment or "")

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
                source_address=self._address,
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
