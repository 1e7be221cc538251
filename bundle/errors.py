"""Errors of the bundle room, and the base of every error in the project.

PocketRecError            exit code 1
├── InputError            exit code 2: the caller's file, table, option or recipe is at fault
└── BundleInvalid         the files of a release fail their checks; nothing of them may be used
"""


class PocketRecError(Exception):
    """Base of all errors that PocketRec raises on purpose; the text is fit for a person."""

    exit_code = 1


class InputError(PocketRecError, ValueError):
    """The user's input is wrong: says where, what was found and what to do."""

    exit_code = 2


class BundleInvalid(PocketRecError):
    """A bundle, or one of its files, does not hold what its manifest or header promises."""
