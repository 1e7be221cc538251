"""Feedback, interests, consent and erasure: the methods of `Device` that change the user's data.

`Device` inherits them; they are apart so that `device.py` holds the way of a request and a release.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pocketrec_edge.device_status import Interests
from pocketrec_edge.events import interests, privacy
from pocketrec_edge.events.consent import KEEPS_EVENTS, Consent
from pocketrec_edge.experiments.device_experiments import DeviceExperiments
from pocketrec_edge.faults import Fault
from pocketrec_edge.one_at_a_time import one_at_a_time
from pocketrec_edge.recommend import popular_list, request_checks
from pocketrec_edge.releases.store import Store
from pocketrec_edge.running import Running
from pocketrec_edge.user_data import UserData


class UserActions:
    """Feedback, interests, consent, a copy of the data, and its erasure."""

    turns: threading.RLock
    store: Store
    _user: UserData
    _running: Running
    _experiments: DeviceExperiments
    _clock: Callable[[], float]

    def _lasting_faults(self) -> list[Fault]:
        """Faults of release, user's data and experiments, until they are repaired."""
        return [*self._running.faults, *self._user.faults, *self._experiments.faults]

    @one_at_a_time
    def feedback(
        self,
        item_id: str,
        event: str,
        value: float | None = None,
        *,
        request: str | None = None,
        place: int | None = None,
        currency: str | None = None,
    ) -> str:
        """Log what the user did; returns the event's id once it is on the disk.

        Where the clock was set back, the event counts as simultaneous with the last one, for it
        came after it; `clock_utc` of its context has what the clock said, which an experiment uses.

        Args:
            item_id: the app's own id; the release need not have it.
            event: one of `event_types()`; any name before the first release.
            value: a number that goes with it, such as a rating, seconds or an amount.
            request: `Answer.request` of the slate that led to it, also many days later. An id that
                the log does not have, such as one from before an erasure, is kept as it is.
            place: of the item in that slate, from 1. None: the log looks it up; without a place
                there, the item was not in that slate.
            currency: of an amount, three capital letters (ISO 4217), such as "GBP".

        Raises:
            RequestInvalidError: the release has no such event, or an argument is of the wrong form.
            EventLogError: it could not be stored.
        """
        request_checks.check_item(item_id)
        request_checks.check_event(event, value, self.event_types() or None)
        request_checks.check_source(request, place)
        request_checks.check_currency(currency, value)
        value = None if value is None else float(value)  # SQLite cannot store NumPy's numbers
        log, now = self._user.log.opened(), int(self._clock())
        ts = max(now, log.last_interaction())
        context: dict[str, Any] = {"clock_utc": now} if now < ts else {}
        if request is not None:
            place = log.place_of(request, item_id) if place is None else int(place)
            context |= {"request": request} | ({} if place is None else {"place": place})
        if currency is not None:
            context["currency"] = currency
        return log.append(
            item_id,
            event,
            value=value,
            ts=ts,
            context=context,
            now=now,
            pause_s=self._experiments.session_pause_s,
        )

    @one_at_a_time
    def event_types(self) -> tuple[str, ...]:
        """Return the events that the release knows; of a damaged one those that were noted."""
        self._running.refresh()
        if self._running.bundle is not None:
            return self._running.bundle.spec.event_types
        noted = popular_list.read(self.store.root)
        return noted.event_types if noted is not None else ()

    @one_at_a_time
    def set_interests(self, names: Sequence[str]) -> None:
        """Store the categories that the user chose; they replace earlier ones and stay here.

        Args:
            names: of categories in `interests().offered`; none: nothing is chosen any more.

        Raises:
            InputError: one is not on offer.
            PocketRecError: it could not be noted.
        """
        request_checks.check_interests(names)
        self._user.choose(names, self.interests().offered)

    @one_at_a_time
    def interests(self) -> Interests:
        """Return what the user chose, what the release offers to choose from, and faults."""
        self._running.refresh()
        offered: tuple[str, ...] = ()
        if self._running.bundle is not None:
            offered = interests.offered(self._running.bundle.spec, self._running.bundle.cohorts)
        return Interests(
            chosen=self._user.chosen, offered=offered, faults=tuple(self._lasting_faults())
        )

    @one_at_a_time
    def set_consent(
        self, granted: bool, terms: str | None = None, *, only_sums: bool = False
    ) -> Consent:
        """Store whether the user agrees that events are sent; without consent none are sent.

        Args:
            granted: False withdraws: what was not sent by now never will be.
            terms: version of the text that the user was shown.
            only_sums: the user agrees to sums of experiments only: no event is ever sent.

        Raises:
            RequestInvalidError: `granted` is not a bool, `terms` is not a text, or `only_sums`
                is not a bool or comes with a withdrawal.
            EventLogError: it could not be noted.
        """
        request_checks.check_consent(granted, terms, only_sums)
        log = self._user.log.opened()
        renewed = granted and log.consent().state in KEEPS_EVENTS
        decision = log.set_consent(granted, terms, only_sums=only_sums)
        if renewed:  # only now, for another process may log exposures until the consent is there
            self._experiments.log_again()
        return decision

    def export_data(self, out: Path) -> int:
        """Write all that the device holds about its user, see `privacy.export_data`.

        Raises:
            EventLogError: the log cannot be read.
            PocketRecError: `out` cannot be written.
        """
        return self._user.export(out)

    @one_at_a_time
    def erase(self) -> privacy.ErasureReport:
        """Erase all that the device holds about its user, see `privacy.erase`; it is empty then.

        Raises:
            EventLogError: another process uses the log, or it cannot be written.
            PocketRecError: install id, interests or the pages shown cannot be removed.
        """
        self._running.close()
        report = self._user.erase()
        self._experiments.log_again()
        return report
