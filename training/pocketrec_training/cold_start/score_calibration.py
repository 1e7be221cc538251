"""Items that training never saw: how often they should be shown, and vectors that lead to that.

A vector from content alone (`pocketrec_training.cold_start.content_vectors`) is an estimate, and
its scores do not compare with those of items that have a history: the item tower's alone would
hardly ever come first, with what is added to them new items would fill the slates
(`docs/quality-cold.md`). What they deserve can be measured on the past: which items arrived late
in the training data, and how often they were taken.
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
from pocketrec_training.progress import Progress
from pocketrec_training.trained import Trained

SAMPLE = 1000
"""Users whose slates the lift looks at."""

FIT_SAMPLE = 5000
"""Users to whose scores new items' vectors are fitted."""

WINDOW = 0.25
"""Share of the events, the latest, in which an item that appears counts as an arrival."""

COMPANY = 100
"""New items that are lifted together; fewer are filled up with past arrivals."""

_BLOCK = 8192
"""Items scored for all users at a time."""

_HALVINGS = 30
_TOWER_BATCH = 256
_INPUTS = ("history_vectors", "history_events", "history_ages_s", "history_length")


def lifted_vectors(trained: Trained, data: Dataset, new: Items) -> Floats32:
    """Vectors for items that join the catalogue of a run, by content and lifted.

    Args:
        trained: the run.
        data: its own interactions.
        new: what joins; items that joined since training do not count as known.

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
    """Lift new items, a few of them together with the known items that arrived last.

    The expected share is a mean over arrivals. A single item must not be moved to it: a film whose
    content predicts many users would be shown as often as any other.

    Args:
        made: makes the vectors of the arrivals as if they were new too.
        new: float32 [m, d], made by it.
        data: interactions of the known items.
        known: float32 [n, d].
        users: float32 [u, d], a sample of users as they are now.
        seen: rows of `known` that each user's slate leaves out.

    Returns:
        float32 [m, d].
    """
    company = made.of_known(arrivals(data)[: max(COMPANY - len(new), 0)])
    both = np.concatenate([new, company])
    share = expected_share(arrival_ratio(data), len(both), len(data.items))
    return lift(both, known, users, seen, share=share)[: len(new)]


def fit_users(data: Dataset, seed: int) -> NDArray[np.int64]:
    """Draw the users to whose scores vectors are fitted, in random order, int64 [u]."""
    return np.random.default_rng(seed).permutation(data.n_users)[:FIT_SAMPLE]


def vectors_of_users(
    tower: keras.Model,
    spec: FeatureSpec,
    data: Dataset,
    users: NDArray[np.int64],
    item_vectors: Floats32,
    now_utc: int,
) -> Floats32:
    """Run the user tower on whole histories, by the device's own inputs; float32 [u, d].

    Args:
        tower: the exported form, see `pocketrec_training.towers.user_tower.build_user_tower`.
        spec: of the tower.
        data: histories.
        users: int64 [u].
        item_vectors: float32 [n_items, d].
        now_utc: unix seconds from which ages count.
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
    """Yield lists of `n`, the last one shorter."""
    rest = iter(inputs)
    while batch := list(islice(rest, n)):
        yield batch


def arrivals(data: Dataset, window: float = WINDOW) -> NDArray[np.int64]:
    """Return the rows of the items that appeared in the last `window`, the latest first.

    Args:
        data: all folds are read; leave out what comes after the moment in question.
        window: share of the data's events, 0..1.
    """
    first = data.first_seen()
    order = np.argsort(-first, kind="stable")
    there = first[order] < np.iinfo(np.int64).max  # an item without events has not come yet
    return order[there & (first[order] > np.quantile(data.ts, 1.0 - window))]


def arrival_ratio(data: Dataset, window: float = WINDOW) -> float:
    """How often an item that just arrived is taken, relative to one known before.

    Counted are first touches (a user's first event with an item) in the last `window` of the
    data's events, by users known before it: per item that first appeared then, over per item known
    before. 1.0 where nothing arrived.

    Args:
        data: see `arrivals`.
        window: share of the events, 0..1.
    """
    users = data.event_users
    cut = np.quantile(data.ts, 1.0 - window)
    before = data.first_seen() <= cut
    arrived = np.zeros(len(data.items), np.bool_)
    arrived[arrivals(data, window)] = True
    # Events are ordered by user and time, so the first index of a pair is its first touch.
    _, touches = np.unique(users * len(data.items) + data.rows, return_index=True)
    joined = data.ts[np.minimum(data.offsets[:-1], len(data.ts) - 1)]
    late = touches[(data.ts[touches] > cut) & (joined[users[touches]] <= cut)]
    n_arrived = int(arrived[data.rows[late]].sum())
    n_before = len(late) - n_arrived
    if not n_arrived or not n_before:
        return 1.0
    return float((n_arrived / arrived.sum()) / (n_before / before.sum()))


def expected_share(ratio: float, n_new: int, n_known: int) -> float:
    """Share of first touches that new items should get, 0..1, each `ratio` times a known one's."""
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
    """Move new items' vectors along the users' mean until they fill `share` of the slates.

    A common shift: the order among new items stays the same for every user, and an inner product
    stays all that the phone computes. Nothing is known or used of who takes the new items.

    Args:
        new: float32 [m, d], from content alone.
        known: float32 [n, d].
        users: float32 [u, d], a sample of users as they are now.
        seen: rows of `known` that each user's slate leaves out.
        share: 0..1, see `expected_share`.
        slate: places of a slate.

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
        # All new items move alike for a user, so only that user's best ones can reach the slate.
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
    """Share of slate places that new items take, 0..1.

    Args:
        new_scores: float32 [u, m].
        best_known: float32 [u, k], each user's best k scores of known items; k places a slate.
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
    """Return each user's best scores of items not seen, float32 [u, <= slate], in no order.

    In blocks of items, to bound memory; `done`: where the bar stands before.
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
    """A shift that surely puts all new items first, or last."""
    real = best[np.isfinite(best)]
    return float(2 * (np.abs(scores).max() + np.abs(real).max(initial=0.0)) + 1)
