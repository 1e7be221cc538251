"""Faults: what went wrong on a phone that answered all the same.

An error (`errors.py`) ends a call; a fault comes with its answer. An app branches on `Fault.code`,
which is stable, and shows or logs `Fault.text`, which may change.
`docs/device/fault-codes.md` lists all codes with what an app can do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FaultCode(StrEnum):
    """The code of a fault; compares equal to its text, such as `"no_release"`.

    Codes are only added. The comment of each one says what answers meanwhile.

    Example:
        >>> FaultCode("no_release") is FaultCode.NO_RELEASE, FaultCode.NO_RELEASE == "no_release"
        (True, True)
    """

    NO_RELEASE = "no_release"
    """No release is installed yet; the answer has no items."""
    STORE_DAMAGED = "store_damaged"
    """The file that names the active release is damaged; popular items answer."""
    RELEASE_DAMAGED = "release_damaged"
    """A file of the active release fails its check; what is sound answers."""
    RELEASE_ROLLED_BACK = "release_rolled_back"
    """The active release crashed in three starts; the previous release answers."""
    RELEASE_STOPPED = "release_stopped"
    """Every installed release is killed or failed here; lists answer, no model runs."""
    MODEL_UNAVAILABLE = "model_unavailable"
    """No model can be loaded: no runtime is installed, or it refuses the file; lists answer."""
    USER_TOWER_FAILED = "user_tower_failed"
    """The user tower failed on this request; lists answer."""
    RANKER_FAILED = "ranker_failed"
    """The ranker failed on this request; the slate is in retrieval's order."""
    FORMULA_NOT_FINITE = "formula_not_finite"
    """The formula of the final score is not finite for some candidates; 0 counts in that place."""
    DEADLINE = "deadline"
    """The ranker was skipped to keep `deadline_ms`; the slate is in retrieval's order."""
    UNKNOWN_FILTER = "unknown_filter"
    """A filter names a column, category or region that the release does not have."""
    ALL_FILTERED = "all_filtered"
    """No item passes the filters; the answer has no items."""
    NOTHING_LEFT = "nothing_left"
    """The user has had every item that may be shown; the answer has no items."""
    UNKNOWN_ITEM = "unknown_item"
    """The item at hand is not in the release; the home screen's items answer."""
    CATALOGUE_UNREADABLE = "catalogue_unreadable"
    """The catalogue cannot be read; ids stand for titles."""
    EVENT_LOG_UNREADABLE = "event_log_unreadable"
    """The event log is locked or damaged, or has another key; the history is empty."""
    EVENT_LOG_READ_ONLY = "event_log_read_only"
    """The event log can be read and not written; nothing is sponsored, nothing is logged."""
    EVENT_LOG_NOT_WRITTEN = "event_log_not_written"
    """The impressions or the showings of this answer could not be logged."""
    EVENTS_NOT_REMOVED = "events_not_removed"
    """Retention could not remove old events; they stay until it can."""
    INTERESTS_UNREADABLE = "interests_unreadable"
    """The chosen interests cannot be read; the user should choose them again."""
    SESSIONS_UNREADABLE = "sessions_unreadable"
    """Pages shown before cannot be read; lists begin at page 1."""
    SESSION_NOT_KEPT = "session_not_kept"
    """The page could not be stored; it is remembered until the process ends."""
    EXPERIMENTS_UNREADABLE = "experiments_unreadable"
    """The experiments, or the memory of them, cannot be read; the release answers as it is."""
    ARM_UNUSABLE = "arm_unusable"
    """The arm of an experiment does not fit the release; control answers."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of an answer or a status.

    Attributes:
        code: stable, to branch on.
        text: for people and logs: where, what was found, what to do.

    Example:
        >>> fault = Fault(FaultCode.NO_RELEASE, "no release is installed")
        >>> fault.code == "no_release"
        True
        >>> print(fault)
        no release is installed
    """

    code: FaultCode
    text: str

    def __str__(self) -> str:
        return self.text


def joined(faults: Iterable[Fault]) -> str:
    """Return the texts of faults as one line; "" without faults."""
    return "; ".join(fault.text for fault in faults)


def add(faults: list[Fault], fault: Fault) -> None:
    """Append a fault, unless one with the same text is there."""
    if all(known.text != fault.text for known in faults):
        faults.append(fault)
