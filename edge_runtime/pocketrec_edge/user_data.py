"""What a phone holds of its user, opened: event log, chosen interests, pages shown.

A file that cannot be read is a fault of the answers, never an error at the start.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import Bundle
from pocketrec_edge.events import interests, privacy
from pocketrec_edge.events.answer_log import AnswerLog
from pocketrec_edge.events.cipher import Cipher
from pocketrec_edge.events.paging import Sessions
from pocketrec_edge.events.retention import Retention
from pocketrec_edge.faults import Fault, FaultCode
from pocketrec_edge.phone_home import PhoneHome


class UserData:
    """The user's data on one phone.

    Attributes:
        log: the event log, as answers use it.
        chosen: names of the categories that the user chose.
    """

    def __init__(
        self,
        home: PhoneHome,
        *,
        limits: Retention | None,
        cipher: Cipher | None,
        clock: Callable[[], float],
    ) -> None:
        self._home, self._cipher, self._clock = home, cipher, clock
        self._limits = limits
        self._open()

    def _open(self) -> None:
        self.log = AnswerLog(
            self._home, limits=self._limits, cipher=self._cipher, clock=self._clock
        )
        self.chosen: tuple[str, ...] = ()
        self._interests_fault: Fault | None = None
        try:
            self.chosen = interests.read(self._home)
        except PocketRecError as err:
            self._interests_fault = Fault(FaultCode.INTERESTS_UNREADABLE, str(err))
        self.__dict__.pop("sessions", None)

    @cached_property
    def sessions(self) -> Sessions:
        """Lists in pages; the file is read when the first page is requested."""
        return Sessions(self._home.sessions)

    @property
    def faults(self) -> list[Fault]:
        """What is wrong with the log and the interests."""
        return [*self.log.faults, *([self._interests_fault] if self._interests_fault else [])]

    def close(self) -> None:
        """Close the event log."""
        self.log.close()

    def first_event(self) -> int | None:
        """Return the time of the earliest event, unix seconds; None without any.

        Raises:
            EventLogError: the log cannot be read.
        """
        return self.log.opened().first_event()

    def choose(self, names: Sequence[str], offered: Sequence[str]) -> None:
        """Store the chosen categories; they replace earlier ones.

        Raises:
            InputError: a name is not offered.
            PocketRecError: the file cannot be written.
        """
        chosen = interests.checked(names, offered)
        interests.write(self._home, chosen)
        self.chosen, self._interests_fault = chosen, None

    def with_interests(self, bundle: Bundle, history: History, now_utc: int) -> History:
        """Return the history with the events that stand for the chosen interests."""
        return interests.with_interests(bundle.spec, bundle.cohorts, self.chosen, history, now_utc)

    def export(self, out: Path) -> int:
        """Write a copy of all of it, see `privacy.export_data`; returns the number of events."""
        return privacy.export_data(self._home, out, now=int(self._clock()), cipher=self._cipher)

    def erase(self) -> privacy.ErasureReport:
        """Erase all of it and open it again, empty; see `privacy.erase`."""
        self.close()
        try:
            return privacy.erase(self._home, self._cipher)
        finally:
            self._open()
