"""Errors of the experiments room.

PocketRecError (bundle)
├── InputError               an option or an experiment's settings that the analysis cannot use
├── EventsInvalidError       the folder of events is missing, empty or of another layout
└── PolicyValueRefusedError  the log cannot tell the value of a policy; exit code 3
"""

from pocketrec_bundle.errors import PocketRecError


class EventsInvalidError(PocketRecError):
    """The exported events cannot be read; the message names the folder and the column."""


class PolicyValueRefusedError(PocketRecError):
    """A log cannot tell the value of a policy; the message says what is missing.

    Attributes:
        code: no_slates, no_exploration, no_support, wrong_propensities, few_effective or no_replay.
    """

    exit_code = 3

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
