"""Starts of a release that gave no slate: after three in a row the phone leaves it by itself.

A model may kill the process that loads or runs it, so a start is noted before. `trial` of the
phone's home holds the release's hash and one byte for each start that gave no slate so far:

    loading   the models are being loaded: where it stays so, that killed the process
    idle      they are loaded and no slate was asked for, which is no fault of the release
    asked     a slate was asked for, and none came, or the models that were loaded gave none

A slate removes them all. The process holds a lock meanwhile: of starts at the same time only the
first counts, or each would take the others for dead. Nothing is fsynced: the file outlives a killed
process, and a power cut loses no more than a count.

`self_test` counts in the same way, before a release is ever active: a sync whose process died in
the self-test of a release three times in a row takes it as failed.
"""

import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pocketrec_bundle.disk.locks import LockedFile
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.errors import SelfTestFailedError
from pocketrec_edge.events import release_outcomes as outcomes
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.store import SelfTest, Store

MOST_STARTS = 3
_LOADING, _IDLE, _ASKED = b".", b"i", b"?"
_HEAD = 64


class BootCounter:
    """The starts of one phone; where the file cannot be written none is counted."""

    def __init__(self, path: Path) -> None:
        """Name the file of the counter, `PhoneHome.trial` or `PhoneHome.self_test`."""
        self._path = path
        self._file: LockedFile | None = None
        self._mark, self._at = _LOADING, _HEAD

    def begin(self, manifest: str) -> int:
        """Note that a release is about to be loaded; returns how many starts before it failed."""
        try:
            if self._file is None:
                self._file = LockedFile(self._path)
                self._close = weakref.finalize(self, self._file.close)
            self._file.seek(0)
            data = self._file.read(_HEAD + 2 * MOST_STARTS)
            marks = data[_HEAD:] if data[:_HEAD] == manifest.encode() else b""
            failed = bytes(mark for mark in marks if mark in _LOADING + _ASKED)
            self._mark, self._at = _LOADING, _HEAD + len(failed)
            self._file.seek(0)
            self._file.write(manifest.encode() + failed + self._mark)
            self._file.truncate(self._at + 1)
        except OSError:  # another process has the lock, or there is nowhere to write
            self.close()
            return 0
        return len(failed)

    def loaded(self) -> None:
        """Note that the models are loaded."""
        self._set(_IDLE)

    def asked(self) -> None:
        """Note that a slate is asked for."""
        self._set(_ASKED)

    def answered(self) -> None:
        """Note that it came; later slates of this process are not counted."""
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(_HEAD)
            self.close()

    def close(self) -> None:
        """Count no more; what was noted stays."""
        if self._file is not None:
            self._file = None
            self._close()

    def _set(self, mark: bytes) -> None:
        if self._file is not None and self._mark != mark:
            self._mark = mark
            with suppress(OSError):
                self._file.seek(self._at)
                self._file.write(mark)


def begin_or_roll_back(
    boot_counter: BootCounter, store: Store, home: PhoneHome, clock: Callable[[], float]
) -> Fault | None:
    """Note the start of the active release; leave it for the one before if it failed too often.

    Returns:
        What happened, if it was left.
    """
    active, _ = store.active()
    if active is None or boot_counter.begin(active) < MOST_STARTS:
        return None
    told = f"release {active[:12]}: no slate in {MOST_STARTS} starts; it is used no more"
    outcomes.record(home, active, outcomes.REVERTED, int(clock()))
    try:
        blocklist.block(home, active)
        store.roll_back(frozenset({active}))
    except PocketRecError as err:  # tried again at the next start
        return Fault(FaultCode.RELEASE_ROLLED_BACK, f"{told} ({err})")
    if (before := store.active()[0]) is not None and before != active:
        boot_counter.begin(before)
    return Fault(FaultCode.RELEASE_ROLLED_BACK, told)


def open_release(store: Store, home: PhoneHome) -> tuple[Bundle | None, Fault | None, Fault | None]:
    """Open the release that may run here, else one whose lists may answer.

    Returns:
        The release, None if there is none; what is wrong; and why none of its models may run.
    """
    barred = blocklist.read(home)
    bundle, fault = store.open_active(hash_large=False, barred=barred)
    if bundle is not None or not barred:
        return bundle, fault, None
    bundle, fault = store.open_active(hash_large=False)
    stopped = "no release here may run its models; its lists answer"
    return bundle, fault, Fault(FaultCode.RELEASE_STOPPED, stopped)


def watched(home: PhoneHome, manifest: str, self_test: Callable[[Bundle], object]) -> SelfTest:
    """Return a self-test that fails where it ended its process before, again and again."""

    def run(bundle: Bundle) -> None:
        boot_counter = BootCounter(home.self_test)
        if boot_counter.begin(manifest) >= MOST_STARTS:
            boot_counter.close()  # the count stays: with spare models an install asks once more
            raise SelfTestFailedError(
                f"release {bundle.manifest.name}: {MOST_STARTS} processes ended in its self-test"
            )
        try:
            self_test(bundle)
        finally:
            boot_counter.answered()

    return run
