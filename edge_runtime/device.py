"""A phone: its store, its event log, its clock; it answers whatever is broken.

Home folder: `store/` (releases), `events.sqlite` (what the user did), `tuf/` (trusted metadata) and
`install_id`, once events went up. Only `sync.py` opens sockets; events leave with consent only.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bundle.features import History
from bundle.reader import Bundle, open_bundle
from edge_runtime import event_schema, privacy
from edge_runtime.cipher import Cipher
from edge_runtime.consent import Consent
from edge_runtime.errors import EventLogError
from edge_runtime.event import IMPRESSION, Event
from edge_runtime.eventlog import EventLog
from edge_runtime.pipeline import Recommender, Slate
from edge_runtime.retention import Retention
from edge_runtime.selftest import replay
from edge_runtime.store import Store

_DEFAULT_LIMITS = Retention()


class Device:
    """One simulated phone."""

    def __init__(
        self,
        home: Path,
        *,
        engine: str = "auto",
        bundle_dir: Path | None = None,
        limits: Retention | None = _DEFAULT_LIMITS,
        cipher: Cipher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the phone; a missing or broken release or log is a fault in the answers.

        Args:
            home: the phone's folder.
            engine: litert, onnx or auto.
            bundle_dir: use this bundle folder instead of the installed release.
            limits: how long and how large the event log may be; None: for ever.
            cipher: encrypts the event log with the app's key; sync and export need it too.
            clock: unix seconds.

        Raises:
            BundleInvalid: `bundle_dir` was given and fails its checks.
        """
        self.home, self.store = home, Store(home / "store")
        self._clock, self._engine = clock, engine
        self._limits, self._cipher = limits, cipher
        self._open_log()
        self.bundle: Bundle | None
        if bundle_dir is not None:
            self.bundle, self._release_fault = open_bundle(bundle_dir), None
        else:
            self.bundle, self._release_fault = self.store.open_active()
        self._recommender = Recommender(self.bundle, engine) if self.bundle else None

    def close(self) -> None:
        """Close the event log."""
        if self._log is not None:
            self._log.close()

    def _open_log(self) -> None:
        self._log: EventLog | None = None
        self._log_fault: str | None = None
        try:
            self._log = EventLog(
                self.home / event_schema.FILE_NAME,
                limits=self._limits,
                cipher=self._cipher,
                clock=self._clock,
            )
        except EventLogError as err:
            self._log_fault = str(err)

    def install(self, bundle_dir: Path) -> str:
        """Install a bundle folder after its golden vectors pass; returns the manifest's hash.

        Raises:
            PocketRecError: it is invalid, does not run here, or cannot be stored.
        """
        return self.store.install_bundle(bundle_dir, lambda b: replay(b, self._engine))

    def recommend(
        self,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        log_impressions: bool = True,
    ) -> dict[str, Any]:
        """Answer with a slate as plain values: items, stage_ms, source, faults, release.

        Every item is also logged as an impression. Without any release the slate is empty.

        Args:
            k: slate size, by default the release's.
            exclude_seen: leave out what the user had; by default as the release's policy says.
            log_impressions: False for slates that nobody looks at.
        """
        faults = self._faults()
        now = int(self._clock())
        if self._recommender is None or self.bundle is None:
            return {"items": [], "stage_ms": {}, "source": "none", "faults": faults, "release": ""}
        history, unknown = History.empty(), 0
        if self._log is not None:
            try:
                history, unknown = self._log.history(self.bundle)
            except EventLogError as err:
                faults.append(str(err))
        slate = self._recommender.recommend(history, now, k, exclude_seen=exclude_seen)
        if slate.fault:
            faults.append(slate.fault)
        if log_impressions:
            faults += [fault for fault in self._impressions(slate, now) if fault not in faults]
        return {
            "items": [asdict(item) for item in slate.items],
            "stage_ms": {name: round(ms, 3) for name, ms in slate.stage_ms.items()},
            "source": slate.source,
            "engine": self._recommender.engine,
            "history": len(history),
            "unknown_items": unknown,
            "faults": faults,
            "release": self.bundle.manifest.name,
        }

    def feedback(self, item_id: str, event: str, value: float | None = None) -> str:
        """Log what the user did; returns the event's id once it is on the disk.

        Raises:
            EventLogError: it could not be stored.
        """
        return self._opened_log().append(item_id, event, value=value, ts=int(self._clock()))

    def set_consent(self, granted: bool, terms: str | None = None) -> Consent:
        """Note whether the user agrees that events are sent; without that, none ever is.

        Args:
            granted: False withdraws: what was not sent by now never will be.
            terms: version of the text that the user was shown.

        Raises:
            EventLogError: it could not be noted.
        """
        return self._opened_log().set_consent(granted, terms)

    def export_data(self, out: Path) -> int:
        """Write all that the device holds about its user, see `privacy.export_data`.

        Raises:
            EventLogError: the log cannot be read.
            PocketRecError: `out` cannot be written.
        """
        return privacy.export_data(self.home, out, now=int(self._clock()), cipher=self._cipher)

    def erase(self) -> privacy.Erased:
        """Erase all that the device holds about its user, and begin anew; see `privacy.erase`.

        Raises:
            EventLogError: another process uses the log, or it cannot be written.
            PocketRecError: the install id cannot be removed.
        """
        self.close()
        try:
            return privacy.erase(self.home)
        finally:
            self._open_log()

    def status(self) -> dict[str, Any]:
        """Return release, engine, what the log holds (`LogStatus`), and faults as plain values."""
        faults = self._faults()
        logged: dict[str, Any] = {}
        if self._log is not None:
            try:
                logged = asdict(self._log.status())
            except EventLogError as err:
                faults.append(str(err))
        if self._recommender is not None and self._recommender.fault:
            faults.append(self._recommender.fault)
        active, previous = self.store.active()
        return {
            "release": self.bundle.manifest.name if self.bundle else None,
            "items": self.bundle.item_count if self.bundle else 0,
            "active": active,
            "previous": previous,
            "engine": self._recommender.engine if self._recommender else None,
            **logged,
            "faults": faults,
        }

    def _opened_log(self) -> EventLog:
        if self._log is None:
            raise EventLogError(self._log_fault or "the event log is closed")
        return self._log

    def _faults(self) -> list[str]:
        of_log = (self._log.fault, self._log.retention_fault) if self._log else (self._log_fault,)
        return [fault for fault in (self._release_fault, *of_log) if fault]

    def _impressions(self, slate: Slate, now: int) -> list[str]:
        if self._log is None:
            return []
        shown = [
            Event(
                id=str(uuid.uuid4()),
                kind=IMPRESSION,
                item_id=item.item_id,
                event="shown",
                value=None,
                ts=now,
                context={"place": place + 1, "score": item.score, "source": slate.source},
            )
            for place, item in enumerate(slate.items)
        ]
        try:
            self._log.append_many(shown)
        except EventLogError as err:
            return [str(err)]
        return []
