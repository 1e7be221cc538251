"""Cold-start score calibration: give new items a fair share of the slates.

A vector from content alone (`pocketrec_training.cold_start.content_vectors`) is an estimate. Its
scores are not comparable with those of items that have a history: the item tower's vectors almost
never reach a slate, and with neighbour averages new items fill the slates
(`docs/quality-cold.md`). The fair share is measured on the past: items that arrived late in the
training data, and how often users interacted with them.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.features import FeatureSpec, tower_inputs, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_training.cold_start.content_vectors import ContentVectors
from pocketrec_training.data.dataset import Dataset, Items
from pocketrec_training.monitoring.progress import Progress
from pocketrec_training.trained import TrainedRun

SAMPLE = 1000
"""Users whose slates the calibration measures."""

FIT_SAMPLE = 5000
"""Users to whose scores the vectors of new items are fitted."""

WINDOW = 0.25
"""An item that first appears in this latest share of the events is an arrival."""

COMPANY = 100
"""Minimum number of items calibrated together; past arrivals fill up a smaller number."""

_BLOCK = 8192
"""Items scored for all users at once; bounds the memory."""

_HALVINGS = 30
_TOWER_BATCH = 256
_INPUTS = ("history_vectors", "history_events", "history_ages_s", "history_length")


def lifted_vectors(trained: TrainedRun, data: Dataset, new: Items) -> Floats32:
    """Return calibrated content vectors of items that are added to a run's catalogue.

    Args:
        trained: the run.
        data: the run's interactions.
        new: the added items. Items added since training are not known items.

    Returns:
        float32 [len(new), d].
    """
    users = fit_users(data, trained.recipe.seed)
    vectors = vectors_of_users(
        trained.user_tower, trained.spec, data, users, trained.item_vectors, int(data.ts.max())
    )
    made = ContentVectors(
        data,
        trained.item_vectors_for,
        users=users,
        user_vectors=vectors,
        item_vectors=trained.item_vectors,
        declared=trained.declared,
    )
    seen = [data.history(int(user)).rows for user in users[:SAMPLE]]
    return lift_in_company(made, made(new), data, trained.item_vectors, vectors[:SAMPLE], seen)


def lift_in_company(
    made: ContentVectors,
    new: Floats32,
    data: Dataset,
    known: Floats32,
    users: Floats32,
    seen: list[NDArray[np.int32]],
) -> Floats32:
    """Calibrate new items; fewer than COMPANY together with the latest known arrivals.

    The expected share is a mean over arrivals. A single item must not be set to this mean: then a
    film whose content predicts many users would be shown as often as any other.

    Args:
        made: computes content vectors, here also of the arrivals.
        new: float32 [m, d], computed by `made`.
        data: interactions of the known items.
        known: float32 [n, d], vectors of the known items.
        users: float32 [u, d], present vectors of a sample of users.
        seen: rows of `known` that each user's slate excludes.

    Returns:
        float32 [m, d].
    """
    company = made.of_known(arrivals(data)[: max(COMPANY - len(new), 0)])
    both = np.concatenate([new, company])
    share = expected_share(arrival_ratio(data), len(both), len(data.items))
    return lift(both, known, users, seen, share=share)[: len(new)]


def fit_users(data: Dataset, seed: int) -> NDArray[np.int64]:
    """Sample the users to whose scores vectors are fitted, in random order, int64 [u]."""
    return np.random.default_rng(seed).permutation(data.n_users)[:FIT_SAMPLE]


def vectors_of_users(
    tower: keras.Model,
    spec: FeatureSpec,
    data: Dataset,
    users: NDArray[np.int64],
    item_vectors: Floats32,
    now_utc: int,
) -> Floats32:
    """Run the user tower on complete histories with the inputs of a device; float32 [u, d].

    Args:
        tower: the exported form, see `pocketrec_training.towers.user_tower.build_user_tower`.
        spec: the tower's features.
        data: the histories.
        users: int64 [u].
        item_vectors: float32 [n_items, d].
        now_utc: unix seconds at which ages are 0.
    """
    histories = (data.history(int(user)) for user in users)
    inputs = (
        tower_inputs(spec, history, item_vectors[used_rows(spec, history)], now_utc)
        for history in histories
    )
    return run_tower(tower, inputs, len(users))


def run_tower(tower: keras.Model, inputs: Iterable[Mapping[str, NDArray[Any]]], n: int) -> Floats32:
    """Run the user tower on `n` inputs as `tower_inputs` makes them, in batches; float32 [n, d]."""
    parts = []
    with Progress("user tower", n) as bar:
        for batch in _batched(inputs, _TOWER_BATCH):
            joined = [np.concatenate([one[name] for one in batch]) for name in _INPUTS]
            parts.append(np.asarray(tower(joined, training=False), np.float32))
            bar.advance(sum(map(len, parts)))
    return np.concatenate(parts)


def _batched(inputs: Iterable[Mapping[str, NDArray[Any]]], n: int) -> Iterator[list[Any]]:
    """Yield lists of `n`; the last list can be shorter."""
    rest = iter(inputs)
    while batch := list(islice(rest, n)):
        yield batch


def arrivals(data: Dataset, window: float = WINDOW) -> NDArray[np.int64]:
    """Return the rows of the items that first appeared in the last `window`, latest first.

    Args:
        data: all folds are read; exclude events after the time of interest.
        window: share of the data's events, 0..1.
    """
    first = data.first_seen()
    order = np.argsort(-first, kind="stable")
    there = first[order] < np.iinfo(np.int64).max  # the item has events
    return order[there & (first[order] > np.quantile(data.ts, 1.0 - window))]


def arrival_ratio(data: Dataset, window: float = WINDOW) -> float:
    """Return the interaction rate of an arrival relative to that of an older item.

    The rate counts first interactions (a user's first event with an item) in the last `window` of
    the events, by users that are older than the window. It is a mean over items. 1.0 if nothing
    arrived.

    Args:
        data: see `arrivals`.
        window: share of the events, 0..1.
    """
    users = data.event_users
    cut = np.quantile(data.ts, 1.0 - window)
    before = data.first_seen() <= cut
    arrived = np.zeros(len(data.items), np.bool_)
    arrived[arrivals(data, window)] = True
    # Events are ordered by user and time, so the first index of a pair is its first interaction.
    _, touches = np.unique(users * len(data.items) + data.rows, return_index=True)
    joined = data.ts[np.minimum(data.offsets[:-1], len(data.ts) - 1)]
    late = touches[(data.ts[touches] > cut) & (joined[users[touches]] <= cut)]
    n_arrived = int(arrived[data.rows[late]].sum())
    n_before = len(late) - n_arrived
    if not n_arrived or not n_before:
        return 1.0
    return float((n_arrived / arrived.sum()) / (n_before / before.sum()))


def expected_share(ratio: float, n_new: int, n_known: int) -> float:
    """Return the expected share of first interactions, 0..1: a new item counts `ratio` times."""
    return ratio * n_new / (ratio * n_new + n_known)


def lift(
    new: Floats32,
    known: Floats32,
    users: Floats32,
    seen: list[NDArray[np.int32]],
    *,
    share: float,
    slate: int = 20,
) -> Floats32:
    """Shift the vectors of new items along the users' mean until they fill `share` of the slates.

    All new items get the same shift. So their order stays the same for each user, and the phone
    still computes inner products only. No interaction with the new items is used.

    Args:
        new: float32 [m, d], from content alone.
        known: float32 [n, d], vectors of the known items.
        users: float32 [u, d], present vectors of a sample of users.
        seen: rows of `known` that each user's slate excludes.
        share: 0..1, see `expected_share`.
        slate: items in a slate.

    Returns:
        float32 [m, d].
    """
    mean = users.mean(axis=0)
    length = float(mean @ mean)
    if not len(new) or length < 1e-12:
        return new
    direction = mean / length  # adds 1 to the mean user's score
    gains = users @ direction
    with Progress("lift", len(known) + len(new)) as bar:
        best = _best_scores(known, users, seen, slate, bar, 0)
        # The shift keeps a user's order of new items, so only the best can reach the slate.
        scores = _best_scores(new, users, [], slate, bar, len(known))
    low, high = -_reach(scores, best), _reach(scores, best)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if share_of_slates(scores + middle * gains[:, None], best) < share:
            low = middle
        else:
            high = middle
    return np.asarray(new + (low + high) / 2 * direction, np.float32)


def share_of_slates(new_scores: Floats32, best_known: Floats32) -> float:
    """Return the share of slate places that hold new items, 0..1.

    Args:
        new_scores: float32 [u, m].
        best_known: float32 [u, k], each user's best k scores of known items; k is the slate's size.
    """
    k = best_known.shape[1]
    both = np.concatenate([best_known, new_scores], axis=1)
    top = np.argpartition(-both, k - 1, axis=1)[:, :k]
    return float((top >= k).mean())


def _best_scores(
    items: Floats32,
    users: Floats32,
    seen: list[NDArray[np.int32]],
    slate: int,
    bar: Progress,
    done: int,
) -> Floats32:
    """Return each user's best scores of unseen items, float32 [u, <= slate], unordered.

    Items are scored in blocks, to bound memory. `done` is the progress before the call.
    """
    k = min(slate, len(items))
    best = np.full((len(users), k), -np.inf, np.float32)
    who = np.repeat(np.arange(len(seen)), [len(rows) for rows in seen])
    what = np.concatenate([np.zeros(0, np.int32), *seen])
    for at in range(0, len(items), _BLOCK):
        scores = users @ items[at : at + _BLOCK].T  # [u, block]
        here = (what >= at) & (what < at + _BLOCK)
        scores[who[here], what[here] - at] = -np.inf
        both = np.concatenate([best, scores], axis=1)
        best = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]
        bar.advance(done + at + scores.shape[1])
    return best


def _reach(scores: Floats32, best: Floats32) -> float:
    """Return a shift that is certain to put all new items first, or last."""
    real = best[np.isfinite(best)]
    return float(2 * (np.abs(scores).max() + np.abs(real).max(initial=0.0)) + 1)
