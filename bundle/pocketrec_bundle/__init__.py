"""The contract between server and device: a release as files (FORMAT.md).

In: arrays, models and settings from `export`. Out: a verified, memory-mapped `Bundle`.

Reading order: FORMAT.md; `encoding` (JSON, arrays, columns, ids, deltas); manifest.py; features.py
and ranker_features.py; `items` and versions.py; `objectives` (heads, formula); `settings` (policy,
rules, campaigns, rollout, halts); writer.py and reader.py; `golden`; `disk` (atomic files, locks).

Rules of the room: standard library and numpy only. No byte of a file is used before the file's
size and hash are checked.
"""

from typing import TYPE_CHECKING

from pocketrec_bundle.errors import (
    BundleInvalidError,
    BundleTooNewError,
    InputError,
    PocketRecError,
    renamed,
)
from pocketrec_bundle.reader import Bundle, open_bundle, open_files

__all__ = [
    "Bundle",
    "BundleInvalidError",
    "BundleTooNewError",
    "InputError",
    "PocketRecError",
    "open_bundle",
    "open_files",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(
        __name__, {"BundleInvalid": BundleInvalidError, "BundleTooNew": BundleTooNewError}
    )
