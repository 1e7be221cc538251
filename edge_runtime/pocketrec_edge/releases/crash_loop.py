"""Crash-loop rollback: after three failed starts in a row the phone rolls back its release.

A model may kill the process that loads or runs it, so each start is counted before the models load
(a boot counter). The file `trial` in the phone's folder holds the release's hash and one byte for
each start without a slate:

    loading   the models are being loaded; if the process ends here, loading killed it
    idle      the models are loaded and no slate was requested; this start does not count as failed
    asked     a slate was requested, but the models did not return one

The first slate resets the counter. The process locks the file, so parallel starts count once. The
file is not fsynced: it survives a killed process, and a power cut loses at most one count.

The file `self_test` counts self-tests in the same way, before a release becomes active: a release
whose self-test ended the process three times in a row counts as failed.
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
    """The boot counter of one phone. It counts nothing if its file cannot be written.

    Attributes:
        failed_starts: failed starts before the present one.
    """

    def __init__(self, path: Path) -> None:
        """Set the file of the counter, `PhoneHome.trial` or `PhoneHome.self_test`."""
        self._path = path
        self.failed_starts = 0
        self._file: LockedFile | None = None
        self._mark, self._at = _LOADING, _HEAD

    def begin(self, manifest: str) -> int:
        """Count a start of a release; return the number of failed starts before it."""
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
            self.failed_starts = 0
            return 0
        self.failed_starts = len(failed)
        return len(failed)

    def loaded(self) -> None:
        """Record that the models are loaded."""
        self._set(_IDLE)

    def asked(self) -> None:
        """Record that a slate was requested."""
        self._set(_ASKED)

    def answered(self) -> None:
        """Reset the counter after a slate; later slates of this process are not counted."""
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(_HEAD)
            self.close()

    def close(self) -> None:
        """Stop counting; the file stays as it is."""
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
    """Count a start of the active release; roll back after too many failed starts.

    Returns:
        The fault, if the release was rolled back.
    """
    active, _ = store.active()
    if active is None or boot_counter.begin(active) < MOST_STARTS:
        return None
    text = f"release {active[:12]}: no slate in {MOST_STARTS} starts; it was rolled back"
    outcomes.record(home, active, outcomes.REVERTED, int(clock()))
    try:
        blocklist.block(home, active)
        store.roll_back(frozenset({active}))
    except PocketRecError as err:  # tried again at the next start
        return Fault(FaultCode.RELEASE_ROLLED_BACK, f"{text} ({err})")
    if (before := store.active()[0]) is not None and before != active:
        boot_counter.begin(before)
    return Fault(FaultCode.RELEASE_ROLLED_BACK, text)


def open_release(store: Store, home: PhoneHome) -> tuple[Bundle | None, Fault | None, Fault | None]:
    """Open a release that may run here, or else one whose lists may answer.

    Returns:
        The release or None; its fault or None; and the fault that stops its models, or None.
    """
    barred = blocklist.read(home)
    bundle, fault = store.open_active(hash_large=False, barred=barred)
    if bundle is not None or not barred:
        return bundle, fault, None
    bundle, fault = store.open_active(hash_large=False)
    stopped = "no release here may run its models; its lists answer"
    return bundle, fault, Fault(FaultCode.RELEASE_STOPPED, stopped)


def counted_self_test(
    home: PhoneHome, manifest: str, self_test: Callable[[Bundle], object]
) -> SelfTest:
    """Wrap a self-test: it fails if it ended its process `MOST_STARTS` times before."""

    def run(bundle: Bundle) -> None:
        boot_counter = BootCounter(home.self_test)
        if boot_counter.begin(manifest) >= MOST_STARTS:
            # Keep the count: an install with spare models runs the self-test again.
            boot_counter.close()
            raise SelfTestFailedError(
                f"release {bundle.manifest.name}: {MOST_STARTS} processes ended in its self-test"
            )
        try:
            self_test(bundle)
        finally:
            boot_counter.answered()

    return run
