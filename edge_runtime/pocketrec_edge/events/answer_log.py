"""The event log for answers: an error of the log becomes a fault, and the device still answers.

If an app uses the log itself (feedback, consent), `opened` raises the error.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pocketrec_bundle.features import History
from pocketrec_bundle.reader import Bundle
from pocketrec_bundle.settings.campaigns import Campaigns
from pocketrec_bundle.settings.rules import Rules
from pocketrec_edge.answers import Answer, SlateItem
from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.app_session import PAUSE_S
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.feedback import Impressions
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.events.slate_events import Exposure, exposure_event, slate_events
from pocketrec_edge.faults import Fault, FaultCode, add
from pocketrec_edge.phone_home import PhoneHome


class AnswerLog:
    """The log of one phone.

    Attributes:
        log: the log; None if it could not be opened.
        session_pause_s: seconds without a request or interaction that end a session of the app.
    """

    def __init__(
        self,
        home: PhoneHome,
        *,
        limits: Retention | None,
        cipher: Cipher | None,
        clock: Callable[[], float],
    ) -> None:
        """Open the log, see `EventLog`; errors are in `faults`."""
        self.log: EventLog | None = None
        self.session_pause_s = PAUSE_S
        self._fault: str | None = None
        try:
            self.log = EventLog(home.event_log, limits=limits, cipher=cipher, clock=clock)
        except EventLogError as err:
            self._fault = str(err)

    def close(self) -> None:
        """Close the file."""
        if self.log is not None:
            self.log.close()

    @property
    def faults(self) -> list[Fault]:
        """Faults of the log."""
        if self.log is None:
            return [Fault(FaultCode.EVENT_LOG_UNREADABLE, self._fault or "the event log is closed")]
        known = (
            (FaultCode.EVENT_LOG_READ_ONLY, self.log.fault),
            (FaultCode.EVENTS_NOT_REMOVED, self.log.retention_fault),
        )
        return [Fault(code, text) for code, text in known if text]

    def opened(self) -> EventLog:
        """Return the log.

        Raises:
            EventLogError: the log could not be opened.
        """
        if self.log is None:
            raise EventLogError(self._fault or "the event log is closed")
        return self.log

    def history(self, bundle: Bundle, faults: list[Fault]) -> tuple[History, int]:
        """Return the history and its number of unknown items; unreadable: empty, with a fault."""
        if self.log is not None:
            try:
                return self.log.history(bundle)
            except EventLogError as err:
                faults.append(Fault(FaultCode.EVENT_LOG_UNREADABLE, str(err)))
        return History.empty(), 0

    def shown_before(
        self,
        bundle: Bundle,
        rules: Rules | None,
        campaigns: Campaigns,
        now: int,
        faults: list[Fault],
    ) -> tuple[Impressions | None, dict[str, int] | None]:
        """Return what the rules of an answer need: impressions, the day's showings by campaign.

        None for what the rules do not use or the log cannot provide; showings are also None if the
        log is read-only.
        """
        impressions: Impressions | None = None
        if self.log is None or rules is None:
            return None, None
        try:
            if rules.learns:
                impressions = self.log.impressions(bundle)
            if campaigns.campaigns and not self.log.fault:
                return impressions, self.log.showings(now)
        except EventLogError as err:
            add(faults, Fault(FaultCode.EVENT_LOG_UNREADABLE, str(err)))
        return impressions, None

    def count_showings(
        self, items: tuple[SlateItem, ...], now: int, faults: list[Fault]
    ) -> tuple[SlateItem, ...]:
        """Count one showing of each sponsored item; returns the items that may be shown.

        Sponsored items are left out if they cannot be counted, because showings are limited.
        """
        campaigns = [item.sponsored.campaign for item in items if item.sponsored]
        if not campaigns:
            return items
        try:
            self.opened().add_showings(campaigns, now)
        except EventLogError as err:
            add(faults, Fault(FaultCode.EVENT_LOG_NOT_WRITTEN, str(err)))
            return tuple(item for item in items if not item.sponsored)
        return items

    def add_slate(
        self,
        answer: Answer,
        now: int,
        *,
        scene: str,
        release: str,
        exposures: Sequence[Exposure] = (),
    ) -> Answer:
        """Log a slate: its request and its impressions, in one transaction.

        Args:
            answer: the slate; its `request` is set.
            now: unix seconds.
            scene: where the slate stands.
            release: hash of the manifest, hex; "" if no release is open.
            exposures: to arms that matter in this slate for the first time.

        Returns:
            The answer; without its `request` and with a fault if it was not logged.
        """
        if self.log is None:
            return replace(answer, request=None)
        events = slate_events(answer, now, scene=scene, release=release)
        events += [exposure_event(each, now) for each in exposures]
        try:
            self.log.append_many(events, now=now, pause_s=self.session_pause_s)
        except EventLogError as err:
            faults = [*answer.faults]
            add(faults, Fault(FaultCode.EVENT_LOG_NOT_WRITTEN, str(err)))
            return replace(answer, faults=tuple(faults), request=None)
        return answer

    def known(self, request: str | None) -> str | None:
        """Return a request's id if the log has it; None: it was not logged, or cannot be read."""
        try:
            found = request is not None and self.opened().has(request)
        except EventLogError:
            return None
        return request if found else None

    def add_exposures(self, exposures: Sequence[Exposure], now: int) -> Fault | None:
        """Log exposures that no slate made; return what prevented it, or None."""
        try:
            self.opened().append_many([exposure_event(each, now) for each in exposures])
        except EventLogError as err:
            return Fault(FaultCode.EVENT_LOG_NOT_WRITTEN, str(err))
        return None
