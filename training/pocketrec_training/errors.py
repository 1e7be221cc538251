"""Errors of the training room.

PocketRecError (bundle)
├── InputError (bundle)          also a ValueError
│   ├── RecipeInvalidError       the recipe file: unknown key, wrong type, out of bounds
│   ├── TableInvalidError        a table: missing column, empty, too many bad rows
│   ├── DatasetUnavailableError  a known data set can't be fetched or fails its checksum
│   ├── LogUnavailableError      an experiment log's library or server is missing
│   ├── CasesDifferError         two evaluations are not of the same cases or methods
│   └── FeatureLeakError         a feature added to the ranker knows the future
└── RunInvalidError              a run folder lacks files, is of another recipe, or cannot be made
    └── TrainingDivergedError    weights or figures of an epoch are not finite
"""

from pocketrec_bundle.errors import InputError, PocketRecError


class RecipeInvalidError(InputError):
    """The recipe is not usable; the text names the file, the key and the mend."""


class TableInvalidError(InputError):
    """A table is not usable; the text names the file, the column or row and the mend."""


class DatasetUnavailableError(InputError):
    """A registered data set cannot be had here; the text says how to provide it by hand."""


class LogUnavailableError(InputError):
    """An experiment log cannot be written; the text says what to install or start."""


class CasesDifferError(InputError):
    """Two evaluations cannot be compared case by case; the text says where they part."""


class FeatureLeakError(InputError):
    """A ranker feature depends on what happens after its moment; the text names it and a case."""


class RunInvalidError(PocketRecError):
    """A run folder is incomplete, belongs to another recipe or data set, or cannot be made."""


class TrainingDivergedError(RunInvalidError):
    """An epoch ended with weights or figures that are not finite; nothing was saved."""
