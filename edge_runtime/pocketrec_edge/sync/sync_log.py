"""The phone's event log during one sync: opened at most once, and only if the sync needs it."""

from types import TracebackType

from pocketrec_edge.errors import EventLogError
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.phone_home import PhoneHome


class SyncLog:
    """Opens the log at the first call of `existing` or `create`; both return the same object.

    A log that cannot be opened is not tried again: each call raises the first error.

    Attributes:
        home: the phone's folder.
        cipher: the app's, or None.
    """

    def __init__(self, home: PhoneHome, cipher: Cipher | None) -> None:
        """Name the log of a phone; opens nothing.

        Args:
            home: the phone's folder.
            cipher: the app's, if the log is encrypted.
        """
        self.home, self.cipher = home, cipher
        self._log: EventLog | None = None
        self._error: EventLogError | None = None

    def existing(self) -> EventLog | None:
        """Return the log; None if the phone has none.

        Raises:
            EventLogError: it cannot be opened.
        """
        if self._log is None and self._error is None and not self.home.event_log.exists():
            return None
        return self.create()

    def create(self) -> EventLog:
        """Return the log; make it if the phone has none.

        Raises:
            EventLogError: it cannot be opened.
        """
        if self._error is not None:
            raise self._error
        if self._log is None:
            try:
                self._log = EventLog(self.home.event_log, cipher=self.cipher)
            except EventLogError as err:
                self._error = err
                raise
        return self._log

    def close(self) -> None:
        """Close the log, if it was opened."""
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> "SyncLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
