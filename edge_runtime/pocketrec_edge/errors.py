"""Errors of the device.

PocketRecError (bundle)
├── EngineError            a model cannot be loaded or run, or gives numbers that are not finite
├── EventLogError          the event log cannot be read or written
├── OutOfTimeError         ranking would end after the request's deadline
├── RequestInvalidError    the app asked for what cannot be; also an InputError and a ValueError
├── SelfTestFailedError    golden vectors differ on this device
├── SimulationFailedError  a simulated phone's process ended with an error
├── StoreError             an install could not be done; the earlier release stays
├── SyncError              the server, the network or a signature; the earlier release stays
└── OfflineError           something tried to open a socket in offline mode
"""

from typing import TYPE_CHECKING

from pocketrec_bundle.errors import InputError, PocketRecError, renamed


class EngineError(PocketRecError):
    """A model cannot be loaded or run here, or its answer is not finite."""


class EventLogError(PocketRecError):
    """The event log is locked, read-only, full or damaged, or has another key or newer schema."""


class OutOfTimeError(PocketRecError):
    """A request's deadline leaves no time for the ranker; the slate has retrieval's order."""


class RequestInvalidError(InputError):
    """An argument of a request is of the wrong type or out of its range; nothing was logged."""


class SelfTestFailedError(PocketRecError):
    """A release does not reproduce its golden vectors on this device."""

    code = "self_test_failed"
    """As that of `BundleInvalidError`: FORMAT.md, "Error codes"."""


class SimulationFailedError(PocketRecError):
    """The process of a class of simulated phones ended with an error."""


class StoreError(PocketRecError):
    """A release could not be installed; the active release stays active."""


class SyncError(PocketRecError):
    """A sync failed; the active release stays active."""


class OfflineError(PocketRecError):
    """A socket was asked for while the process is offline on purpose."""


if not TYPE_CHECKING:
    __getattr__ = renamed(
        __name__,
        {
            "OutOfTime": OutOfTimeError,
            "RequestInvalid": RequestInvalidError,
            "SelfTestFailed": SelfTestFailedError,
            "SimulationFailed": SimulationFailedError,
        },
    )
