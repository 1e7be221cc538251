"""Check that an evaluation is asked about the data that the run was trained on."""

from pathlib import Path

import numpy as np

from pocketrec_bundle.disk.files import sha256_file
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import Dataset, load_dataset
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.trained import TrainedRun


def check_same_data(trained: TrainedRun, run_dir: Path, data: Dataset, data_dir: Path) -> None:
    """Refuse tables that are not those of the run.

    With other items each vector would stand for another item; with other events the held-out ones
    may be events that the models learned from.

    Args:
        trained: the run, loaded.
        run_dir: its folder, which has copies of its tables.
        data: loaded from `data_dir`.
        data_dir: the tables to evaluate with.

    Raises:
        RunInvalidError: items or events differ; the text says where first.
    """
    names = (col.ITEMS_FILE, col.INTERACTIONS_FILE)
    if all(sha256_file(run_dir / name) == sha256_file(data_dir / name) for name in names):
        return
    own, advice = trained.items.ids, f"Use the tables that {run_dir} was trained on, or train again"
    if own != data.items.ids:
        only = sorted(set(own) ^ set(data.items.ids))
        told = f"item {only[0]!r} is in one of them only" if only else "items are repeated"
        raise RunInvalidError(
            f"{data_dir}: {len(data.items)} items, the run has {len(own)}; {told}. {advice}."
        )
    known = load_dataset(trained.recipe, run_dir)
    for name in ("user_ids", "offsets", "rows", "events", "ts"):
        if not np.array_equal(getattr(known, name), getattr(data, name)):
            raise RunInvalidError(
                f"{data_dir}: {len(data.rows)} events of {data.n_users} users, the run has "
                f"{len(known.rows)} of {known.n_users}, and they differ in {name}. Events that are "
                f"held out here may be events that the models learned from. {advice}."
            )
