"""The experiments of one phone, for its answers: arms, overrides, flags, exposures.

The files are read again if a sync, or another process, replaced them: five calls of `stat`.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

from pocketrec_bundle.errors import BundleInvalidError, PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.experiment import OPEN, Experiment
from pocketrec_bundle.settings.experiment_arms import FlagValue
from pocketrec_bundle.settings.experiments import SESSION_PAUSE_S, Experiments
from pocketrec_edge.errors import RequestInvalidError
from pocketrec_edge.events.slate_events import Exposure
from pocketrec_edge.experiments.arm_memory import (
    ArmMemory,
    Entry,
    change_memory,
    log_again,
    read_memory,
)
from pocketrec_edge.experiments.arm_settings import (
    LoadSet,
    flag_of,
    matters_for_slate,
    no_set,
    overrides_of,
)
from pocketrec_edge.experiments.assigned import NO_HALTS, Assigned, assigned_arms
from pocketrec_edge.experiments.signed_experiments import (
    DeviceFacts,
    read_experiments,
    read_facts,
    read_halted_arms,
)
from pocketrec_edge.experiments.slate_arms import NO_ARMS, SlateArms, versus_of, with_arm
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides
from pocketrec_edge.recommend.surfaces import SEARCH

Stamp = tuple[int, int] | None


MOST_SETTINGS = 8
"""Checked settings that are kept: two for an interleaved experiment, and those of flags."""


class DeviceExperiments:
    """Experiments of one phone."""

    def __init__(
        self,
        home: PhoneHome,
        *,
        bucket_id: Callable[[], bytes],
        first_event: Callable[[], int | None],
    ) -> None:
        """Set where the files are.

        Args:
            home: the phone's folder.
            bucket_id: returns the device's random bytes; raises PocketRecError.
            first_event: returns the time of the first logged event, unix seconds; None without
                events; raises PocketRecError if the log cannot be read.
        """
        self._home, self._bucket_id, self._first_event = home, bucket_id, first_event
        watched = (
            home.experiments,
            home.halted_arms,
            home.device_facts,
            home.arms,
            home.arm_models,
        )
        self._watched = tuple(map(str, watched))
        self._stamps: tuple[Stamp, ...] | None = None
        self._signed: Experiments | None = None
        self._halted = NO_HALTS
        self._facts, self._memory = DeviceFacts(), ArmMemory()
        self._unwritten: set[Entry] = set()  # exposures, if the memory cannot be written
        self._settings: dict[object, tuple[Overrides, tuple[Fault, ...]]] = {}
        self._flag_faults: dict[str, Fault] = {}
        self._faults: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Why experiments or memory cannot be read or written; empty if they can."""
        self._refresh()
        return self._faults

    @property
    def session_pause_s(self) -> int:
        """Seconds without a request or event that end a session of the app."""
        self._refresh()
        return SESSION_PAUSE_S if self._signed is None else self._signed.session_pause_s

    def assigned(self, now_utc: float) -> tuple[Assigned, ...]:
        """Return the arms that apply to this device now."""
        self._refresh()
        if self._signed is None or not self._signed.experiments:
            return ()
        try:
            bucket_id = self._bucket_id()
        except PocketRecError as err:
            self._complain(str(err))
            return ()
        return assigned_arms(
            self._signed,
            bucket_id,
            self._facts,
            self._memory,
            now_utc,
            self._is_new_user,
            self._halted,
        )

    def for_slate(
        self, bundle: Bundle | None, scene: str, now_utc: float, load_set: LoadSet = no_set
    ) -> SlateArms:
        """Return what the experiments mean for a slate.

        Args:
            bundle: the release, if one answers.
            scene: of the slate.
            now_utc: unix seconds.
            load_set: loads the ranker of a model set of this release.
        """
        assigned = self.assigned(now_utc)
        if not assigned:
            return NO_ARMS
        mixed = next((one for one in assigned if one.interleaves and scene != SEARCH), None)
        # Another interleaved experiment of this slate, or of a search, leaves control's settings.
        counted = [one for one in assigned if not one.interleaves or one is mixed]
        settings: tuple[Overrides, tuple[Fault, ...]] = NO_OVERRIDES, ()
        versus = None
        if bundle is not None:
            settings = self._overrides(with_arm(assigned, 0), bundle, load_set)
            if mixed is not None:
                second = with_arm(assigned, 1, of=mixed)
                overrides, faults = self._overrides(second, bundle, load_set)
                versus = versus_of(mixed, overrides)
                settings = settings[0], tuple(dict.fromkeys((*settings[1], *faults)))
        mattering = [one for one in counted if matters_for_slate(one.experiment, scene)]
        return SlateArms(
            overrides=settings[0],
            arms={one.experiment.id: one.reported for one in counted if not one.is_shipped},
            exposures=self._new_exposures(mattering),
            faults=settings[1],
            versus=versus,
        )

    def flag(
        self, name: str, default: FlagValue, now_utc: float
    ) -> tuple[FlagValue, tuple[Exposure, ...]]:
        """Return a flag's value, and exposures to log."""
        value, exposes, fault = flag_of(self.assigned(now_utc), name, default)
        self._flag_faults.pop(name, None)
        if fault is not None:
            self._flag_faults[name] = fault
        return value, self._new_exposures(exposes)

    @property
    def flag_faults(self) -> tuple[Fault, ...]:
        """Arms whose flags could not be used, of the flags that the app read."""
        return tuple(self._flag_faults.values())

    def note(self, exposures: Iterable[Exposure]) -> None:
        """Remember exposures that were logged, so that they are logged once."""
        entries = tuple((one.experiment, one.salt, one.arm, one.forced) for one in exposures)
        if not entries:
            return
        try:
            self._change(lambda memory: memory.with_logged(entries))
        except PocketRecError as err:  # until the process ends; the analysis takes the first one
            self._unwritten.update(entries)
            self._complain(str(err))

    def log_again(self) -> None:
        """Log exposures again, because those that were logged are never sent."""
        self._unwritten.clear()
        try:
            log_again(self._home)
        except PocketRecError as err:
            self._complain(str(err))

    def force(self, name: str, arm: str | None) -> None:
        """Put this device into an arm for testing; None: the arm that it drew.

        Raises:
            RequestInvalidError: no such experiment is open, or it has no such arm.
            PocketRecError: the memory cannot be written.
        """
        self._refresh()
        if arm is not None:
            known = (
                {}
                if self._signed is None
                else {one.id: one for one in self._signed.experiments if one.state in OPEN}
            )
            if name not in known:
                names = ", ".join(known) or "none; sync first"
                raise RequestInvalidError(f"{name!r}: no such experiment is open; open: {names}.")
            if known[name].arm(arm) is None:
                arms = ", ".join(each.name for each in known[name].arms)
                raise RequestInvalidError(f"{name}: has no arm {arm!r}; its arms: {arms}.")

        def forced(memory: ArmMemory) -> ArmMemory:
            others = {key: one for key, one in memory.forced.items() if key != name}
            return replace(memory, forced=others if arm is None else others | {name: arm})

        self._change(forced)

    def _refresh(self) -> None:
        stamps = tuple(map(_stamp, self._watched))
        if stamps == self._stamps:
            return
        self._stamps, self._faults = stamps, ()
        self._signed, self._memory, self._settings = None, ArmMemory(), {}
        try:
            self._halted = read_halted_arms(self._home)
            self._signed = read_experiments(self._home)
        except (BundleInvalidError, OSError) as err:
            self._complain(f"{err}; the next sync repairs it")
        self._facts = read_facts(self._home)
        try:
            self._memory = read_memory(self._home)
        except (ValueError, OSError) as err:
            self._complain(str(err))

    def _complain(self, text: str) -> None:
        fault = Fault(FaultCode.EXPERIMENTS_UNREADABLE, text)
        if fault not in self._faults:
            self._faults = (*self._faults, fault)

    def _change(self, change: Callable[[ArmMemory], ArmMemory]) -> None:
        change_memory(self._home, change)
        self._stamps = None
        self._refresh()

    def _overrides(
        self, assigned: tuple[Assigned, ...], bundle: Bundle, load_set: LoadSet
    ) -> tuple[Overrides, tuple[Fault, ...]]:
        """Check the settings once for each release and set of arms, not for each answer."""
        key = (
            bundle.sha256,
            *((one.experiment.id, one.experiment.salt, one.arm.name) for one in assigned),
        )
        if key not in self._settings:
            if len(self._settings) >= MOST_SETTINGS:
                self._settings.clear()
            self._settings[key] = overrides_of(assigned, bundle, load_set)
        return self._settings[key]

    def _new_exposures(self, assigned: Iterable[Assigned]) -> tuple[Exposure, ...]:
        found = []
        for one in assigned:
            entry = (one.experiment.id, one.experiment.salt, one.reported, one.forced)
            known = entry in self._unwritten or self._memory.is_logged(entry)
            if not known and not one.is_shipped:
                found.append(
                    Exposure(
                        experiment=entry[0],
                        salt=entry[1],
                        arm=entry[2],
                        forced=entry[3],
                        app_version=self._facts.app_version,
                        device_class=self._facts.device_class,
                        again=entry in self._memory.lost,
                    )
                )
        return tuple(found)

    def _is_new_user(self, experiment: Experiment) -> bool | None:
        """Return whether the user was new when it was first asked, and remember it."""
        run = (experiment.id, experiment.salt)
        if run in self._memory.new_user:
            return self._memory.new_user[run]
        try:
            first = self._first_event()
        except PocketRecError:  # a fault of the log already; the device is asked again
            return None
        is_new = first is None or first >= experiment.from_utc

        def decided(memory: ArmMemory) -> ArmMemory:
            known = run in memory.new_user  # another process was first
            return memory if known else replace(memory, new_user=memory.new_user | {run: is_new})

        try:
            self._change(decided)
        except PocketRecError as err:
            self._complain(str(err))
        return self._memory.new_user.get(run, is_new)


def _stamp(path: str) -> Stamp:
    """Return a value that changes if a file is replaced; None without a file."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a fifth of the time that a Path takes)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
