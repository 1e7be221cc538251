"""The contract between server and phone: what a release is, as files.

In: arrays, models and settings from `export`. Out: a verified, memory-mapped `Bundle`.
Read in this order: FORMAT.md, strict_json.py, manifest.py, arrays.py, features.py with products.py,
policy.py, golden.py, golden_edges.py and golden_rules.py with golden_form.py, catalogue.py,
writer.py, reader.py; then the item files: items.py, items_v1.py, items_v2.py with columns.py,
sorted_ids.py and cell_order.py, versions.py, audience.py; then how a file travels: delta.py with
copies.py, and which device takes a release: rollout.py, halts.py. Rule of the room: standard
library and numpy only, and nothing read from a file is used before its size and hash are checked.
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
