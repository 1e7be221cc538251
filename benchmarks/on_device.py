"""Answer held-out cases through the device path: what a phone would show, not what Keras thinks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bundle.errors import PocketRecError
from bundle.features import History
from bundle.reader import open_bundle
from edge_runtime.pipeline import Recommender
from training.dataset import Dataset
from training.progress import Progress

CUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """0-based place of each case's held-out item, int64 [n]; CUT or more where it is not in.

    slate: after ranker and re-ranking; retrieval: in the order of the index.
    """

    slate: NDArray[np.int64]
    retrieval: NDArray[np.int64]


def answer(
    folder: Path, data: Dataset, cases: list[tuple[int, int]], engine: str, variant: str
) -> Places:
    """Ask a bundle for a slate of ten for each (user, position), at the moment of that event.

    Args:
        folder: the bundle.
        data: the data set that it was made of.
        cases: the event at `position` is wanted; everything before it is the history.
        engine: litert or onnx.
        variant: of both models, as "dynamic".

    Raises:
        PocketRecError: a model does not run, so that another path would have answered.
    """
    bundle = open_bundle(folder)
    device = Recommender(bundle, engine, variant)
    rows = np.array([bundle.row_of(item_id) for item_id in data.items.ids], np.int32)
    slate, retrieval = [], []
    with Progress(f"{engine} {variant}", len(cases)) as bar:
        for done, (user, end) in enumerate(cases, 1):
            past, at = data.history(user, end), int(data.offsets[user]) + end
            history = History(rows[past.rows], past.events, past.ts)
            found = device.recommend(history, int(data.ts[at]), CUT)
            if found.fault or found.source != "model":
                raise PocketRecError(f"{engine} {variant}: {found.source}, {found.fault}")
            wanted = int(rows[data.rows[at]])
            slate.append(_place([item.row for item in found.items], wanted))
            retrieval.append(_place(found.candidates[:CUT].tolist(), wanted))
            bar.advance(done)
    return Places(slate=np.array(slate, np.int64), retrieval=np.array(retrieval, np.int64))


def _place(rows: list[int], wanted: int) -> int:
    return rows.index(wanted) if wanted in rows else CUT
