"""A small world for the ranker's tests: real code, sequences with a pattern, an untrained tower.

And a device's event log, to replay interactions through.
"""

import hashlib
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pocketrec_edge.events.event import Event
from pocketrec_edge.events.log import EventLog

N_USERS, N_ITEMS, N_EVENTS, DIM = 60, 40, 14, 8


@pytest.fixture(scope="session")
def world():
    """(recipe, spec, data): 60 users who walk along a ring of 40 items, kind and pace their own."""
    pytest.importorskip("keras", reason="needs the train extra")
    from pocketrec_training.data.dataset import Dataset, Items
    from pocketrec_training.data.features.columns import feature_spec
    from pocketrec_training.data.folds import folds
    from pocketrec_training.recipe.load import parse_recipe

    recipe = parse_recipe(
        {
            "name": "world",
            "data": {"interactions": "i.csv"},
            "columns": {"event": "event"},
            "retrieval": {"dim": DIM, "blocks": 1, "max_history": 6},
            "ranker": {
                "candidates": 20,
                "negatives": 9,
                "batch": 16,
                "epochs": 6,
                "learning_rate": 0.01,
                "cross_layers": 1,
                "cross_rank": 4,
                "deep": [8],
                "head_weights": [1.0, 0.5],
            },
        },
        "world",
    )
    rng = np.random.default_rng(2)
    items = Items(
        ids=[f"i{i:02d}" for i in range(N_ITEMS)],
        titles=[f"T {i}" for i in range(N_ITEMS)],
        categories=[("a", "b")[: 1 + i % 2] for i in range(N_ITEMS)],
        price=rng.uniform(1, 9, N_ITEMS).astype(np.float32),
        year=np.full(N_ITEMS, -1, np.float32),
    )
    offsets = np.arange(N_USERS + 1, dtype=np.int64) * N_EVENTS
    walks = [
        rng.integers(0, N_ITEMS) + np.cumsum(rng.integers(1, 3, N_EVENTS)) for _ in offsets[1:]
    ]
    ts = np.concatenate(
        [rng.integers(0, 10**6) + np.cumsum(rng.integers(1, 9000, N_EVENTS)) for _ in walks]
    )
    data = Dataset(
        items=items,
        user_ids=[f"u{u:02d}" for u in range(N_USERS)],
        offsets=offsets,
        rows=(np.concatenate(walks) % N_ITEMS).astype(np.int32),
        events=rng.integers(0, 2, len(ts)).astype(np.int32),
        ts=ts.astype(np.int64),
        fold=folds(recipe, offsets, ts),
    )
    return recipe, feature_spec(recipe, items), data


@pytest.fixture(scope="session")
def make_candidates(world):
    """Return a function that makes `CandidateGenerator` of a data set; ring neighbours are near."""
    import keras

    from pocketrec_training.ranker.candidate_lists import CandidateGenerator
    from pocketrec_training.towers.user_tower import build_user_tower

    recipe, spec, _ = world
    keras.utils.set_random_seed(1)
    tower = build_user_tower(recipe.retrieval, spec)
    angle = np.arange(N_ITEMS) * 2 * np.pi / N_ITEMS
    waves = [wave(angle * k) for k in range(1, DIM // 2 + 1) for wave in (np.sin, np.cos)]
    table = np.stack(waves, axis=1).astype(np.float32)

    def make(data, **settings) -> CandidateGenerator:
        return CandidateGenerator(spec, data, tower, table, **settings)

    return make


@pytest.fixture(scope="session")
def device_pasts(tmp_path_factory):
    """Return a function that replays interactions through device logs, one a user.

    (spec, item ids in row order, [(user, item, event, value, ts)]) -> one (user, ts, History) each
    user and second, as the log hands it out just before it. A log keeps the order in which
    events came; within a second that is here the order of the hash that orders the offline store.
    """

    def replay(spec, item_ids, interactions):
        row_of = {item_id: row for row, item_id in enumerate(item_ids)}
        # All that the log asks of a release.
        release: Any = SimpleNamespace(spec=spec, row_of=lambda item_id: row_of.get(item_id, -1))
        folder = tmp_path_factory.mktemp("logs")
        mine = sorted(interactions, key=lambda row: (row[0], row[4]))
        for place, (user, rows) in enumerate(groupby(mine, key=lambda row: row[0])):
            log = EventLog(folder / f"{place}.sqlite")
            for ts, now in groupby(rows, key=lambda row: row[4]):
                history, unknown = log.history(release)
                assert unknown == 0
                yield user, ts, history
                log.append_many(
                    sorted((_event(n, *row) for n, row in enumerate(now)), key=lambda one: one.id)
                )
            log.close()

    return replay


def _event(n, user, item, event, value, ts):
    tie = hashlib.md5(f"{user}:{item}".encode(), usedforsecurity=False).hexdigest()
    return Event(
        id=f"{tie}-{n}-{ts}",
        kind="interaction",
        item_id=item,
        event=event,
        value=value,
        ts=ts,
        context={},
    )
