"""Errors of the export room.

PocketRecError (bundle)
├── ConversionFailedError  a converter or runtime refused a model
├── GateRefusedError       exit code 3: no variant passes; carries the table of what failed
└── InputError             a catalogue change that does not fit the base bundle
"""

from pocketrec_bundle.errors import PocketRecError


class ConversionFailedError(PocketRecError):
    """A model could not be converted or run after conversion."""


class GateRefusedError(PocketRecError):
    """The export's own checks failed; nothing was written. `--force` overrides, on the record."""

    exit_code = 3
