"""Errors of the bundle room, and the base of every error in the project.

PocketRecError            exit code 1
├── InputError            exit code 2: the caller's file, table, option or recipe is at fault
└── BundleInvalid         the files of a release fail their checks; nothing of them may be used
    └── BundleTooNew      they are of a newer form than this app reads; a newer app reads them
"""

TOO_NEW = "too_new"
"""The code of what a newer app reads: no fault of the release (FORMAT.md, "Error codes")."""


class PocketRecError(Exception):
    """Base of all errors that PocketRec raises on purpose; the text is fit for a person."""

    exit_code = 1


class InputError(PocketRecError, ValueError):
    """The user's input is wrong: says where, what was found and what to do."""

    exit_code = 2


class BundleInvalid(PocketRecError):
    """A bundle, or one of its files, does not hold what its manifest or header promises.

    Attributes:
        code: the check that failed, the same in every reader and release of PocketRec; see
            FORMAT.md, "Error codes".
    """

    def __init__(self, message: str, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class BundleTooNew(BundleInvalid):
    """A release, or a channel's policy, is of a newer form than this app reads.

    A newer app reads it. So it is not used, and is never counted as a failure of the release.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, code=TOO_NEW)
