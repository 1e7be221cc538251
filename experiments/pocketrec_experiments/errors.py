"""Errors of the experiments room.

PocketRecError (bundle)
├── InputError          an option or an experiment's settings that the analysis cannot use
└── EventsInvalidError  the folder of events is missing, empty or of another layout
"""

from pocketrec_bundle.errors import PocketRecError


class EventsInvalidError(PocketRecError):
    """The exported events cannot be read; the message names the folder and the column."""
