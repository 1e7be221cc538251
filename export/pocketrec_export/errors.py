"""Errors of the export room.

PocketRecError (bundle)
├── ConversionFailed a converter or runtime refused a model
├── GateRefused    exit code 3: no variant passes; carries the table of what failed
└── InputError     a catalogue change that does not fit the base bundle
"""

from pocketrec_bundle.errors import PocketRecError


class ConversionFailed(PocketRecError):
    """A model could not be converted or run after conversion."""


class GateRefused(PocketRecError):
    """The export's own checks failed; nothing was written. `--force` overrides, on the record."""

    exit_code = 3
