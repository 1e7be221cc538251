"""A phone: its store, its event log, its clock; it answers whatever is broken.

Home folder: `store/` (releases), `events.sqlite` (what the user did), `interests.json` (what they
chose), `sessions.json` (pages shown), `tuf/` (trusted metadata), `trial`, `refused.json` and
`outcomes.json` (how releases do here), `update_app.json` (what a newer app would read), `bucket_id`
(which share of devices it is in) and `install_id`, once events went up; a sync locks `sync.lock`.
Only `sync.py` opens sockets; events and outcomes leave with consent only, interests and the bucket
id never.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events import interests, privacy
from pocketrec_edge.events.answer_log import AnswerLog
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.consent import Consent
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.paging import FILE_NAME as SESSIONS_FILE
from pocketrec_edge.events.paging import MAX_ITEMS, Session, Sessions
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.one_at_a_time import one_at_a_time
from pocketrec_edge.private_home import tighten
from pocketrec_edge.recommend import popular_list, request_checks, scenes
from pocketrec_edge.recommend.filters import Filters
from pocketrec_edge.recommend.pipeline import NO_ROWS, Recommender
from pocketrec_edge.recommend.rules.exploration import Random, SystemRandom
from pocketrec_edge.releases import refusals
from pocketrec_edge.releases.selftest import replay
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running
from pocketrec_edge.sync import too_new

_DEFAULT_LIMITS = Retention()


class Device:
    """One simulated phone; threads may share it, their requests run one after the other."""

    def __init__(
        self,
        home: Path,
        *,
        engine: str = "auto",
        bundle_dir: Path | None = None,
        limits: Retention | None = _DEFAULT_LIMITS,
        cipher: Cipher | None = None,
        clock: Callable[[], float] = time.time,
        rng: Random | None = None,
        storage_bytes: int | None = None,
        threads: int = 1,
    ) -> None:
        """Open the phone; a missing or broken release or log is a fault in the answers.

        Args:
            home: the phone's folder.
            engine: litert, onnx or auto.
            bundle_dir: use this bundle folder instead of the installed release.
            limits: how long and how large the event log may be; None: for ever.
            cipher: encrypts the event log with the app's key; sync and export need it too.
            clock: unix seconds.
            rng: for releases that explore; by default the system's.
            storage_bytes: most that releases may take; an install beyond it is refused.
            threads: of each model.

        Raises:
            BundleInvalidError: `bundle_dir` was given and fails its checks.
            RequestInvalidError: `threads` or `storage_bytes` is out of its range.
        """
        request_checks.check_phone(threads, storage_bytes)
        tighten(home)
        self.turns = threading.RLock()
        self.home, self.store = home, Store(home / "store", limit_bytes=storage_bytes)
        self._clock, self._engine = clock, engine
        self._limits, self._cipher = limits, cipher
        self._rng: Random = SystemRandom() if rng is None else rng
        self._open_log()
        self._read_interests()
        self._running = Running(
            home, self.store, engine=engine, threads=threads, clock=clock, bundle_dir=bundle_dir
        )
        self._answer_faults: list[str] = []

    @one_at_a_time
    def close(self) -> None:
        """Close the event log; waits for the check of the release's large files, if one began."""
        self._answer_log.close()
        self._running.close()

    @property
    def bundle(self) -> Bundle | None:
        """The release that answers; None if none opens."""
        return self._running.bundle

    @property
    def _recommender(self) -> Recommender | None:
        return self._running.recommender

    @cached_property
    def _sessions(self) -> Sessions:
        """Lists in pages, read when the first page is asked for."""
        return Sessions(self.home / SESSIONS_FILE)

    def _open_log(self) -> None:
        self._answer_log = AnswerLog(
            self.home, limits=self._limits, cipher=self._cipher, clock=self._clock
        )

    @property
    def _log(self) -> EventLog | None:
        return self._answer_log.log

    def _read_interests(self) -> None:
        self._chosen: tuple[str, ...] = ()
        self._interests_fault: str | None = None
        try:
            self._chosen = interests.read(self.home)
        except PocketRecError as err:
            self._interests_fault = str(err)

    def install(self, bundle_dir: Path) -> str:
        """Install a bundle folder after its golden vectors pass; returns the manifest's hash.

        The next request of this phone, and of others on the same home, is answered by it.

        Raises:
            PocketRecError: it is invalid, does not run here, or cannot be stored.
        """
        sha = self.store.install_bundle(bundle_dir, lambda b: replay(b, self._engine))
        refusals.forgive(self.home, sha)
        return sha

    @one_at_a_time
    def recommend(
        self,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        filters: Filters | None = None,
        log_impressions: bool = True,
        page: int | None = None,
        session: str | None = None,
        scene: str = scenes.HOME,
        item_id: str | None = None,
        results: Sequence[str] = (),
        deadline_ms: float | None = None,
    ) -> dict[str, Any]:
        """Answer with a slate as plain values: items, stage_ms, source, faults, release.

        Every item is also logged as an impression, with the probability of its being shown at its
        place. Before the first release the slate is empty; if all files of all releases are
        damaged, it is the popular items of the last one installed (`popular_list.py`).

        Pages of one session never repeat an item, whatever happens between them. The answer's
        `session` is the token for the next page, its `page` the one that came: a page that was
        shown before comes as it was (`source` is then "page", and nothing is logged), a later one
        than the next is the next, and a session that has ended or is unknown begins at page 1.

        No item that fails a filter is ever shown. Names that the release does not have, and filters
        that nothing passes, are faults.

        Args:
            k: slate size, by default the release's.
            exclude_seen: leave out what the user had; by default as the release's policy says.
            filters: what all items must be; pass the same ones for all pages of a session.
            log_impressions: False for slates that nobody looks at.
            page: from 1; None: a slate of its own, which no session remembers.
            session: the token that page 1 gave.
            scene: "home", "similar" (items like `item_id`), "after" (what goes with `item_id`, once
                it was bought) or "search" (`results` in the user's order). An item that the release
                does not know leaves the home screen, and a fault.
            item_id: of "similar" and "after".
            results: ids that the app's own search found, best first; all that may be shown come
                back, and `unranked` has the others.
            deadline_ms: see `Recommender.recommend`.

        Raises:
            RequestInvalidError: an argument is of the wrong type or out of its range, or the scene
                is unknown or lacks what it needs. Nothing was logged. It is also a ValueError.
        """
        request_checks.check_slate(
            k=k,
            page=page,
            session=session,
            filters=filters,
            deadline_ms=deadline_ms,
            results=results,
        )
        scenes.check(scene, item_id)
        page = None if page is None else int(page)  # JSON has none of NumPy's integers
        self._running.refresh()
        faults = self._faults()
        now = int(self._clock())
        if self._recommender is None or self.bundle is None:
            answer = popular_list.answer(
                self.store.root,
                faults,
                k=k,
                page=page,
                session=session,
                may_show=filters is None and scene != scenes.SEARCH,
            )
            if log_impressions:
                self._answer_log.add_impressions(answer, now, {}, faults)
            return answer | ({"unranked": [*results]} if scene == scenes.SEARCH else {})
        opened = None if page is None else self._sessions.open(session, now)
        if opened is not None and page is not None and 1 <= page <= len(opened.pages):
            return self._shown_again(opened, page, now, faults, filters)
        wanted = scenes.find(self.bundle, scene, item_id, results, faults)
        self._running.trial.asked()
        log = self._answer_log
        history, unknown = log.history(self.bundle, faults)
        impressions, showings = log.shown_before(self.bundle, now, faults)
        slate = self._recommender.recommend(
            self._with_interests(history, now),
            now,
            k,
            exclude_seen=exclude_seen,
            filters=filters,
            shown=NO_ROWS if opened is None else self._rows(opened.shown()),
            rng=self._rng,
            impressions=impressions,
            showings=showings if log_impressions else None,  # what nobody looks at is not counted
            scene=wanted,
            deadline_ms=deadline_ms,
        )
        if slate.source == "model" or self._recommender.fault or deadline_ms is not None:
            self._running.trial.answered()  # models that do not load here are no fault of it
        self._running.answered()
        if slate.fault:
            faults.append(slate.fault)
        items = [item.plain() for item in slate.items]
        if opened is not None:
            items = items[: max(MAX_ITEMS - len(opened.shown()), 0)]
        items = log.noted(items, now, faults)
        paged: dict[str, Any] = {}
        if opened is not None:
            number = len(opened.pages) + 1
            opened.pages += [items] if items else []  # the list may have ended
            paged = self._kept(opened, number, now, faults)
        unranked: dict[str, Any] = {}
        if scene == scenes.SEARCH:
            ranked = {item["item_id"] for item in items}
            unranked = {"unranked": [one for one in results if one not in ranked]}
        self._answer_faults = faults
        answer = {
            "items": items,
            "stage_ms": {name: round(ms, 3) for name, ms in slate.stage_ms.items()},
            "source": slate.source,
            "engine": self._recommender.engine,
            "history": len(history),
            "unknown_items": unknown,
            "faults": faults,
            "release": self.bundle.manifest.name,
            **paged,
            **unranked,
        }
        if log_impressions:
            log.add_impressions(answer, now, paged, faults)
        return answer

    def _with_interests(self, history: History, now: int) -> History:
        assert self.bundle is not None
        spec, cohorts = self.bundle.spec, self.bundle.cohorts
        return interests.with_interests(spec, cohorts, self._chosen, history, now)

    def _shown_again(
        self, opened: Session, page: int, now: int, faults: list[str], filters: Filters | None
    ) -> dict[str, Any]:
        """A page as it was, less what the release no longer has or may not show now."""
        assert self.bundle is not None and self._recommender is not None
        barred = self._recommender.bars.barred(filters).rows
        items = [
            item
            for item in opened.pages[page - 1]
            for row in self._rows([item["item_id"]])
            if not barred[row]
        ]
        return {
            "items": items,
            "stage_ms": {},
            "source": "page",
            **self._kept(opened, page, now, faults),
            "faults": faults,
            "release": self.bundle.manifest.name,
        }

    def _kept(self, opened: Session, page: int, now: int, faults: list[str]) -> dict[str, Any]:
        """Remember a session; returns what its answer says of it."""
        told = self._sessions.fault
        faults += [fault for fault in (told, self._sessions.keep(opened, now)) if fault]
        return {"session": opened.token, "page": page}

    def _rows(self, item_ids: list[str]) -> NDArray[np.int32]:
        """Rows of those ids that the release knows and may show."""
        assert self.bundle is not None
        found = np.array([self.bundle.row_of(item_id) for item_id in item_ids], np.int32)
        found = found[found >= 0]
        return found[self.bundle.available[found]]

    @one_at_a_time
    def explain(self, item_id: str | None = None, k: int | None = None) -> dict[str, Any]:
        """Explain a slate, or one item whether it is in the slate or not; nothing is logged.

        It takes about as long as a slate for each of the last events, see `contributions.py`.
        `items` is empty without a release.

        Args:
            item_id: this item alone.
            k: slate size, by default the release's.

        Raises:
            InputError: the release has no such item, or k is out of its range.
        """
        from pocketrec_edge.recommend.explain import (
            explain,  # a phone that only recommends never loads it
        )

        request_checks.check_k(k)
        if item_id is not None:
            request_checks.check_item(item_id)
        self._running.refresh()
        faults = self._faults()
        if self._recommender is None or self.bundle is None:
            return {"items": [], "source": "none", "faults": faults, "release": ""}
        now = int(self._clock())
        history, _ = self._answer_log.history(self.bundle, faults)
        asked = self._with_interests(history, now)
        slate, items = explain(self._recommender, asked, now, k, item_id=item_id, rng=self._rng)
        return {
            "items": [asdict(item) for item in items],
            "slate": [item.item_id for item in slate.items],
            "candidates": len(slate.candidates),
            "source": slate.source,
            "history": len(history),
            "faults": [*faults, *([slate.fault] if slate.fault else [])],
            "release": self.bundle.manifest.name,
        }

    @one_at_a_time
    def feedback(self, item_id: str, event: str, value: float | None = None) -> str:
        """Log what the user did; returns the event's id once it is on the disk.

        Where the clock was set back, the event counts as simultaneous with the last one, for it
        came after it; `clock_utc` of its context has what the clock said.

        Args:
            item_id: the app's own id; the release need not have it.
            event: one of `event_types()`; any name before the first release.
            value: a number that goes with it, such as a rating.

        Raises:
            RequestInvalidError: the release has no such event, or an argument is of the wrong form.
            EventLogError: it could not be stored.
        """
        request_checks.check_item(item_id)
        request_checks.check_event(event, value, self.event_types() or None)
        value = None if value is None else float(value)  # SQLite has none of NumPy's numbers
        log, now = self._answer_log.opened(), int(self._clock())
        ts = max(now, log.last_interaction())
        context = {"clock_utc": now} if now < ts else {}
        return log.append(item_id, event, value=value, ts=ts, context=context)

    @one_at_a_time
    def event_types(self) -> tuple[str, ...]:
        """Return the events that the release knows; of a damaged one those that were noted."""
        self._running.refresh()
        if self.bundle is not None:
            return self.bundle.spec.event_types
        noted = popular_list.read(self.store.root)
        return noted.event_types if noted is not None else ()

    @one_at_a_time
    def set_interests(self, names: Sequence[str]) -> None:
        """Note which categories the user chose, in the place of earlier ones; they stay here.

        Args:
            names: of categories in `interests()["offered"]`; none: nothing is chosen any more.

        Raises:
            InputError: one is not on offer.
            PocketRecError: it could not be noted.
        """
        request_checks.check_interests(names)
        chosen = interests.checked(names, self.interests()["offered"])
        interests.write(self.home, chosen)
        self._chosen, self._interests_fault = chosen, None

    @one_at_a_time
    def interests(self) -> dict[str, Any]:
        """Return what the user chose, what the release offers to choose from, and faults."""
        self._running.refresh()
        offered: tuple[str, ...] = ()
        if self.bundle is not None:
            offered = interests.offered(self.bundle.spec, self.bundle.cohorts)
        return {"chosen": list(self._chosen), "offered": list(offered), "faults": self._faults()}

    @one_at_a_time
    def set_consent(self, granted: bool, terms: str | None = None) -> Consent:
        """Note whether the user agrees that events are sent; without that, none ever is.

        Args:
            granted: False withdraws: what was not sent by now never will be.
            terms: version of the text that the user was shown.

        Raises:
            RequestInvalidError: `granted` is no bool, or `terms` is no text.
            EventLogError: it could not be noted.
        """
        request_checks.check_consent(granted, terms)
        return self._answer_log.opened().set_consent(granted, terms)

    def export_data(self, out: Path) -> int:
        """Write all that the device holds about its user, see `privacy.export_data`.

        Raises:
            EventLogError: the log cannot be read.
            PocketRecError: `out` cannot be written.
        """
        return privacy.export_data(self.home, out, now=int(self._clock()), cipher=self._cipher)

    @one_at_a_time
    def erase(self) -> privacy.Erased:
        """Erase all that the device holds about its user, and begin anew; see `privacy.erase`.

        Raises:
            EventLogError: another process uses the log, or it cannot be written.
            PocketRecError: install id, interests or the pages shown cannot be removed.
        """
        self.close()
        try:
            return privacy.erase(self.home)
        finally:
            self._open_log()
            self._read_interests()
            self.__dict__.pop("_sessions", None)

    @one_at_a_time
    def status(self) -> dict[str, Any]:
        """Return release, engine, what the log holds (`LogStatus`), and faults as plain values.

        Faults are those that last, and those of the last slate.
        """
        self._running.refresh()
        faults = self._faults()
        logged: dict[str, Any] = {}
        if self._log is not None:
            try:
                logged = asdict(self._log.status())
            except EventLogError as err:
                faults.append(str(err))
        if self._recommender is not None and self._recommender.fault:
            faults.append(self._recommender.fault)
        faults += [fault for fault in self._answer_faults if fault not in faults]
        active, previous = self.store.active()
        return {
            "release": self.bundle.manifest.name if self.bundle else None,
            "items": self.bundle.item_count if self.bundle else 0,
            "active": active,
            "previous": previous,
            "refused": refusals.read(self.home),
            "update_app": too_new.needed_update(self.home),
            "engine": self._recommender.engine if self._recommender else None,
            **logged,
            "faults": faults,
        }

    def _faults(self) -> list[str]:
        known = (self._running.fault, *self._answer_log.faults, self._interests_fault)
        return [fault for fault in known if fault]
