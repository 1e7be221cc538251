"""`cases.npz` beside an evaluation: the rank of every target by every method, case by case.

Arrays of a setting S (`new_to_user` or `all`): `S.users` texts [n], `S.ends` int32 [n], `S.offsets`
int64 [n + 1], and for each method M `S.places.M` int32, as long as the last offset. Every metric
at every k follows from the ranks, so nothing else is stored.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.disk.files import write_atomic
from pocketrec_bundle.floats import Floats64
from pocketrec_training.data.dataset import Dataset
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.metrics import ranking as metrics
from pocketrec_training.metrics.cases import Cases
from pocketrec_training.metrics.ranks import RankedTargets

CASE_FILE = "cases.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResults:
    """One setting of a `cases.npz`. users: texts [n]; ranks: int64 by method."""

    users: NDArray[np.str_]
    ends: NDArray[np.int32]
    offsets: NDArray[np.int64]
    ranks: Mapping[str, NDArray[np.int64]]

    def per_case(self, method: str, cuts: tuple[int, ...]) -> dict[str, Floats64]:
        """Return every ranking metric of a method, float64 [n] each."""
        found: dict[str, Floats64] = {}
        for k in cuts:
            found |= metrics.at_k(self.ranks[method], k, self.offsets)
        return found


def write_cases(
    out: Path, data: Dataset, results: Mapping[str, tuple[Cases, Mapping[str, RankedTargets]]]
) -> None:
    """Write the ranks of all methods in all settings."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for setting, (cases, ranked) in results.items():
        arrays[f"{setting}.users"] = np.array([data.user_ids[user] for user in cases.users])
        arrays[f"{setting}.ends"] = cases.ends.astype(np.int32)
        arrays[f"{setting}.offsets"] = cases.offsets
        for method, found in ranked.items():
            arrays[f"{setting}.places.{method}"] = found.ranks.astype(np.int32)
    _write(out, arrays)


def _write(out: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(out / CASE_FILE, buffer.getvalue())


def add_places(
    folder: Path, method: str, found: Mapping[str, tuple[Cases, NDArray[np.int64]]]
) -> None:
    """Add a method, e.g. the device, to a file that `write_cases` wrote.

    Args:
        folder: holds the file.
        method: a new name, or the name of a method whose ranks are replaced.
        found: by setting, the cases in the file's order and the ranks of their targets.

    Raises:
        RunInvalidError: the file is missing or damaged, or has other cases.
    """
    saved = read_cases(folder)
    arrays: dict[str, NDArray[np.generic]] = {}
    for setting, results in saved.items():
        arrays[f"{setting}.users"] = results.users
        arrays[f"{setting}.ends"] = results.ends
        arrays[f"{setting}.offsets"] = results.offsets
        for name, ranks in results.ranks.items():
            arrays[f"{setting}.places.{name}"] = ranks.astype(np.int32)
    for setting, (cases, ranks) in found.items():
        there = saved.get(setting)
        if there is None or not (
            np.array_equal(there.ends, cases.ends) and np.array_equal(there.offsets, cases.offsets)
        ):
            raise RunInvalidError(
                f"{folder / CASE_FILE}: {setting} has other cases than those that {method!r} "
                "answered. Evaluate again on the same data and split."
            )
        arrays[f"{setting}.places.{method}"] = ranks.astype(np.int32)
    _write(folder, arrays)


def read_cases(folder: Path) -> dict[str, CaseResults]:
    """Read what `write_cases` wrote, by setting.

    Raises:
        RunInvalidError: the file is missing or damaged.
    """
    path = folder / CASE_FILE
    try:
        # Opened here, because numpy does not close the file of a damaged archive.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        return {
            setting: CaseResults(
                users=arrays[f"{setting}.users"],
                ends=arrays[f"{setting}.ends"],
                offsets=arrays[f"{setting}.offsets"],
                ranks={
                    name.removeprefix(f"{setting}.places."): values.astype(np.int64)
                    for name, values in arrays.items()
                    if name.startswith(f"{setting}.places.")
                },
            )
            for setting in sorted({name.partition(".")[0] for name in arrays})
        }
    except FileNotFoundError as err:
        raise RunInvalidError(
            f"{path}: not there. Write it with `pocketrec evaluate RUN --data DIR --out {folder}`."
        ) from err
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as err:
        raise RunInvalidError(f"{path}: damaged ({err}). Evaluate again.") from err
