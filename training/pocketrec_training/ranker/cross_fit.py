"""Rankers that never saw the cases they are asked about (cross-fitting).

The ranker that ships learns from all validation lists, so its own figures on validation events
would flatter. Fold k's ranker learned from the lists of all other folds' users: it answers for the
users of fold k wherever a validation figure is computed.
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.run_folder import RunFolder
from pocketrec_training.saved_model import load_model

FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """One ranker a fold.

    Attributes:
        rankers: calibrated on scores of other folds; ranker k learned from no user of fold k.
        fold_of: fold of each user that a ranker learned from, by user id.
    """

    rankers: tuple[keras.Model, ...]
    fold_of: Mapping[str, int]

    def fold(self, user_id: str) -> int:
        """Return the fold whose ranker may answer for a user; 0 for one that no ranker saw."""
        return self.fold_of.get(user_id, 0)


def assign_folds(user_ids: Iterable[str], seed: int) -> dict[str, int]:
    """Deal users into `FOLDS` folds of equal size, by a hash of their id.

    By user: two lists of one person are not independent evidence.
    """
    dealt = sorted(set(user_ids), key=lambda name: (zlib.crc32(f"{seed}:{name}".encode()), name))
    return {name: at % FOLDS for at, name in enumerate(dealt)}


def folds_of(fold_of: Mapping[str, int], user_ids: Iterable[str]) -> NDArray[np.int64]:
    """Return the fold of each user, int64 [n]."""
    return np.array([fold_of[name] for name in user_ids], np.int64)


def save_cross_fit(folder: Path, found: CrossFit) -> None:
    """Write the rankers and the users' folds into a run folder."""
    run = RunFolder(folder)
    run.folds.write_bytes(canonical_json(dict(found.fold_of)))
    for fold, ranker in enumerate(found.rankers):
        ranker.save(run.fold_ranker(fold))


def load_cross_fit(run_dir: Path) -> CrossFit | None:
    """Read what `save_cross_fit` wrote; None if the run's own ranker never saw validation lists.

    Raises:
        RunInvalidError: a file is damaged.
    """
    run = RunFolder(run_dir)
    path = run.folds
    if not path.is_file():
        return None
    try:
        fold_of = {str(name): int(fold) for name, fold in json.loads(path.read_bytes()).items()}
        rankers = tuple(load_model(run.fold_ranker(fold)) for fold in range(FOLDS))
    except (OSError, ValueError, KeyError) as err:
        raise RunInvalidError(f"{path}: damaged ({err}). Train again.") from err
    return CrossFit(rankers=rankers, fold_of=fold_of)
