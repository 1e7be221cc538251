"""The release that answers: opened, replaced if another becomes active, left if it is damaged.

An app keeps one `Device` for hours, while a sync of this or another process installs releases. So
each request checks whether `active.json` or `refused.json` was replaced.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.reader import Bundle, open_bundle
from pocketrec_edge.experiments import arm_models
from pocketrec_edge.experiments.arm_settings import no_set
from pocketrec_edge.faults import Fault
from pocketrec_edge.phone_home import PhoneHome
from pocketrec_edge.recommend import popular_list
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.releases import blocklist
from pocketrec_edge.releases.crash_loop import (
    MOST_STARTS,
    BootCounter,
    begin_or_roll_back,
    open_release,
)
from pocketrec_edge.releases.integrity_check import IntegrityCheck
from pocketrec_edge.releases.store import POINTER, Store

Stamp = tuple[int, int] | None
State = tuple[str | None, bool]  # the active release, and whether it may not run here


class Running:
    """The release of one phone, with its models loaded.

    Attributes:
        bundle: the release; None if none opens.
        recommender: the same with its models.
        fault: what is wrong with the release or the one that it replaces; None: nothing known.
        boot_counter: counts starts that gave no slate.
        integrity_check: hashes the large files; None once it found something.
    """

    def __init__(
        self,
        home: PhoneHome,
        store: Store,
        *,
        engine: str,
        threads: int,
        clock: Callable[[], float],
        bundle_dir: Path | None,
    ) -> None:
        """Open the active release, or that of a folder, which is never replaced.

        Raises:
            BundleInvalidError: `bundle_dir` was given and fails its checks.
        """
        self._home, self._store = home, store
        self._engine, self._threads, self._clock = engine, threads, clock
        self._watched = (str(store.root / POINTER), str(home.refused))
        self._stamps: tuple[Stamp, ...] = ()
        self._state: State | None = None
        self._is_fixed = bundle_dir is not None
        self.boot_counter = BootCounter(home.trial)
        self.bundle: Bundle | None = None
        self.recommender: Recommender | None = None
        self.integrity_check: IntegrityCheck | None = None
        self.fault: Fault | None = None
        if bundle_dir is not None:
            self._load(open_bundle(bundle_dir), None)
            self.boot_counter.loaded()
        else:
            self.refresh()

    @property
    def faults(self) -> list[Fault]:
        """What is wrong with the release, or with the one that it replaces."""
        return [] if self.fault is None else [self.fault]

    def refresh(self) -> None:
        """Make the active release the one that answers; two calls of `stat` if it is already."""
        if self._is_fixed:
            return
        if self._look() != self._stamps:
            self._open()
        if self.integrity_check is not None and (fault := self.integrity_check.fault):
            self._leave_damaged(fault)

    def answered(self) -> None:
        """Do after the first slate what would delay it: check large files, keep a popular list."""
        if self.integrity_check is None or not self.integrity_check.start():
            return
        active, is_barred = self._state or (None, True)
        if self.bundle is None or self.fault or is_barred or active != self._store.active()[0]:
            return
        with suppress(PocketRecError):  # an older app installed the release without its list
            popular_list.keep(self._store.root, str(active), self.bundle)

    def load_set(self, name: str) -> None:
        """Load the ranker of a model set of the release, for an arm.

        Raises:
            EngineError: no release answers, the release has no such set, or its ranker did not
                pass its test here, is missing or does not load.
            BundleInvalidError: its file is damaged.
        """
        if self.recommender is None or self.bundle is None or self.recommender.fault is not None:
            no_set(name)
            return
        if not self._is_fixed:
            arm_models.check(self._home, self.bundle.manifest, name, self.recommender.engine)
        self.recommender.load_set(name)

    def close(self) -> None:
        """Wait for the check of the release's large files, if one began; count starts no more."""
        if self.integrity_check is not None:
            self.integrity_check.wait()
        self.boot_counter.close()

    def _open(self) -> None:
        """Open what is active now, unless it is what answers already and all is well."""
        stamps, state = self._look(), self._read_state()
        is_well = self.bundle is not None and self.fault is None and not state[1]
        if is_well and state == self._state:
            self._stamps = stamps
            return
        left = begin_or_roll_back(self.boot_counter, self._store, self._home, self._clock)
        if self.boot_counter.failed_starts >= MOST_STARTS - 1:  # before the release is blamed
            arm_models.blame(self._home, f"no slate in {MOST_STARTS - 1} starts of the app")
        self._stamps, self._state = self._look(), self._read_state()
        bundle, fault, stopped = open_release(self._store, self._home)
        self._load(bundle, stopped)
        self.fault = left or fault
        self.boot_counter.loaded()

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in self._watched)

    def _read_state(self) -> State:
        active, _ = self._store.active()
        return active, active in blocklist.read(self._home)

    def _load(self, bundle: Bundle | None, stopped: Fault | None) -> None:
        self._stopped = stopped
        self.recommender = None  # its models go before those of the next one are loaded
        self.bundle = bundle
        self.recommender = self._loaded(bundle) if bundle is not None else None
        self.integrity_check = IntegrityCheck(self._store, bundle) if bundle is not None else None

    def _loaded(self, bundle: Bundle) -> Recommender:
        return Recommender(bundle, self._engine, threads=self._threads, stopped=self._stopped)

    def _leave_damaged(self, fault: Fault) -> None:
        """Open the release again without its damaged file, or the previous release."""
        self.integrity_check, self.fault = None, fault
        sound, _ = self._store.open_active(barred=blocklist.read(self._home))
        if sound is not None:  # else a few wrong bytes are better than no answer
            self.bundle, self.recommender = sound, self._loaded(sound)


def _stamp(path: str) -> Stamp:
    """Return a value that changes if a file is replaced; None without a file."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a fifth of the time that a Path takes)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
