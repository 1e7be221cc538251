"""Answer held-out cases through the device path: what a phone would show, not what Keras thinks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundle.errors import PocketRecError
from bundle.features import History
from bundle.reader import open_bundle
from edge_runtime.pipeline import Recommender
from training.cases import Cases
from training.dataset import Dataset
from training.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """0-based place of each target of the cases, int64, parallel to `Cases.targets`; k: not shown.

    slate: after ranker and re-ranking; retrieval: in the order of the index.
    """

    slate: NDArray[np.int64]
    retrieval: NDArray[np.int64]


def answer(
    folder: Path, data: Dataset, cases: Cases, k: int, engine: str, variant: str | None
) -> Places:
    """Ask a bundle for a slate of `k` for each case, at the moment of its first held-out event.

    Args:
        folder: the bundle.
        data: the data set that it was made of.
        cases: in `new_to_user` the items of the history are left out, in `all` they are not.
        k: length of the slates.
        engine: litert or onnx.
        variant: of both models, as "dynamic"; None takes what the bundle runs by default.

    Raises:
        PocketRecError: a model does not run, so that another path would have answered.
    """
    bundle = open_bundle(folder)
    device = Recommender(bundle, engine, variant)
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    slate, retrieval = [], []
    with Progress(f"{engine} {variant or 'default'}, {cases.setting}", len(cases)) as bar:
        for done, (user, end) in enumerate(cases.pairs, 1):
            past, now = data.history(user, end), int(data.ts[data.offsets[user] + end])
            history = History(rows[past.rows], past.events, past.ts)
            new_only = cases.setting == "new_to_user"
            found = device.recommend(history, now, k, exclude_seen=new_only)
            if found.fault or found.source != "model":
                raise PocketRecError(f"{engine} {variant}: {found.source}, {found.fault}")
            wanted = rows[cases.targets_of(done - 1)].tolist()
            slate += _places([item.row for item in found.items], wanted, k)
            retrieval += _places(found.candidates[:k].tolist(), wanted, k)
            bar.advance(done)
    return Places(slate=np.array(slate, np.int64), retrieval=np.array(retrieval, np.int64))


def _places(shown: list[int], wanted: list[int], k: int) -> list[int]:
    return [shown.index(row) if row in shown else k for row in wanted]
