"""Errors of the training room.

PocketRecError (bundle)
├── InputError (bundle)     also a ValueError
│   ├── RecipeInvalid       the recipe file: unknown key, wrong type, out of bounds
│   ├── TableInvalid        a table: missing column, empty, too many bad rows
│   ├── DatasetUnavailable  a known data set can't be fetched or fails its checksum
│   ├── LogUnavailable      an experiment log is asked for and its library or server is not there
│   ├── CasesDiffer         two evaluations are not of the same cases or methods
│   └── FeatureLeak         a feature added to the ranker knows the future
└── RunInvalid              a run folder lacks files, was made by another recipe, or cannot be made
    └── TrainingDiverged    weights or figures of an epoch are not finite
"""

from pocketrec_bundle.errors import InputError, PocketRecError


class RecipeInvalid(InputError):
    """The recipe is not usable; the text names the file, the key and the mend."""


class TableInvalid(InputError):
    """A table is not usable; the text names the file, the column or row and the mend."""


class DatasetUnavailable(InputError):
    """A registered data set cannot be had here; the text says how to provide it by hand."""


class LogUnavailable(InputError):
    """An experiment log cannot be written; the text says what to install or start."""


class CasesDiffer(InputError):
    """Two evaluations cannot be compared case by case; the text says where they part."""


class FeatureLeak(InputError):
    """A ranker feature depends on what happens after its moment; the text names it and a case."""


class RunInvalid(PocketRecError):
    """A run folder is incomplete, belongs to another recipe or data set, or cannot be made."""


class TrainingDiverged(RunInvalid):
    """An epoch ended with weights or figures that are not finite; nothing of it was saved."""
