"""Errors of the bundle room, and the base of every error in the project.

PocketRecError             exit code 1
├── InputError             exit code 2: the caller's file, table, option or recipe is at fault
└── BundleInvalidError     the files of a release fail their checks; use none of them
    └── BundleTooNewError  they are of a newer form than this app reads; a newer app reads them
"""

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

TOO_NEW = "too_new"
"""Code of a refusal that a newer app would not make; the release is not at fault."""


class PocketRecError(Exception):
    """Base of all errors that PocketRec raises on purpose; the text is for people."""

    exit_code = 1


class InputError(PocketRecError, ValueError):
    """The user's input is wrong; the text says where, what was found and what to do."""

    exit_code = 2


class BundleInvalidError(PocketRecError):
    """A bundle, or one of its files, fails a check (FORMAT.md, "Checks").

    Attributes:
        code: the check that failed; the same in every reader and version of PocketRec. FORMAT.md,
            "Error codes", lists all of them.
    """

    def __init__(self, message: str, *, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


class BundleTooNewError(BundleInvalidError):
    """A release, or a channel's policy, needs a newer app.

    It is not used. It never counts as a failure of the release, because a newer app can read it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, code=TOO_NEW)


def renamed(module: str, errors: Mapping[str, type[Exception]]) -> Callable[[str], object]:
    """Return a module's `__getattr__` (PEP 562) that serves old names and warns.

    Args:
        module: its `__name__`.
        errors: old name -> the error that has a new one. Old names go with 0.3.0.
    """

    def served(name: str) -> object:
        if name not in errors:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = errors[name]
        text = f"{module}.{name} is now {new.__name__}; the old name goes with PocketRec 0.3.0."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return new

    return served


if not TYPE_CHECKING:  # a type checker would take any name from a module that has it
    __getattr__ = renamed(
        __name__, {"BundleInvalid": BundleInvalidError, "BundleTooNew": BundleTooNewError}
    )
