"""Train both towers together: next-item prediction at every position, softmax over all items."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bundle.features import FeatureSpec
from bundle.files import write_atomic
from training.dataset import TRAIN, VALID, Dataset, Items, category_codes
from training.progress import Progress
from training.recipe import Recipe
from training.towers import MAX_TITLE_TOKENS, N_YEAR_BUCKETS, build_item_tower, build_user_tower

Floats = NDArray[np.float32]
_EVAL_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The best towers by validation NDCG@10, and how training went."""

    user_tower: keras.Model
    item_tower: keras.Model
    curve: list[dict[str, float]]
    seconds: float


def item_inputs(
    spec: FeatureSpec, items: Items, title_buckets: int, *, known: bool = True
) -> dict[str, NDArray[Any]]:
    """Encode items for the item tower; `known=False` leaves the id out (new items).

    Title tokens are CRC-32 hashed into buckets: stable over machines, unlike Python's `hash`.
    """
    n = len(items)
    tokens = np.zeros((n, MAX_TITLE_TOKENS), np.int32)
    for row, title in enumerate(items.titles):
        words = title.lower().replace(",", " ").split()[:MAX_TITLE_TOKENS]
        tokens[row, : len(words)] = [crc32(w.encode()) % title_buckets + 1 for w in words]
    year = np.where(items.year >= 0, np.clip((items.year - 1920) // 4 + 2, 1, 31), 0)
    assert int(year.max(initial=0)) < N_YEAR_BUCKETS
    return {
        "ids": np.arange(1, n + 1, dtype=np.int32) if known else np.zeros(n, np.int32),
        "tokens": tokens,
        "categories": category_codes(spec, items.categories),
        "year_bucket": year.astype(np.int32),
        "price": items.price,
    }


def fit_towers(
    recipe: Recipe,
    spec: FeatureSpec,
    data: Dataset,
    checkpoint: Path,
    minutes: float,
    *,
    begin: Callable[[keras.Model, keras.Model], None] | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fitted:
    """Train with early stopping on validation NDCG@10; goes on from `checkpoint` if it is there.

    The checkpoint is written after each epoch by one rename, so a kill loses one epoch at most.

    Args:
        recipe: what to train; `spec` and `data` belong to it.
        spec: features and vocabularies.
        data: sequences with their folds.
        checkpoint: file of unfinished work.
        minutes: wall-clock cap of the stage, earlier tries included.
        begin: called with the new user tower and item tower before training (a warm start).
        on_epoch: called with the epoch's number and its point of the curve after each epoch, when
            the checkpoint is written; an exception of it ends the training.
    """
    config = recipe.retrieval
    user_tower = build_user_tower(config, spec)
    item_tower = build_item_tower(config, spec, len(data.items))
    inputs = {
        k: tf.constant(v) for k, v in item_inputs(spec, data.items, config.title_buckets).items()
    }
    if begin is not None:
        begin(user_tower, item_tower)
    optimizer = keras.optimizers.Adam(config.learning_rate)
    variables = user_tower.trainable_variables + item_tower.trainable_variables
    optimizer.build(variables)
    states = user_tower.get_layer("tower")

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(batch: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            table = item_tower(inputs, training=True)  # [n_items, d]
            vectors = tf.gather(table, batch["rows"]) * batch["real"][..., None]
            users = states(vectors, batch["events"], batch["ages"], training=True)[:, :-1]
            logits = tf.einsum("bld,nd->bln", users, table)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["rows"], logits)
            loss = tf.reduce_sum(losses * batch["real"]) / tf.reduce_sum(batch["real"])
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    everything = [*user_tower.variables, *item_tower.variables, *optimizer.variables]
    best = [*user_tower.variables, *item_tower.variables]
    state = _Progressed(curve=[], best=[v.numpy() for v in best], best_ndcg=-1.0, seconds=0.0)
    if checkpoint.exists():
        state = _restore(checkpoint, everything, len(best))
    started = time.monotonic() - state.seconds
    with Progress("two-tower", config.epochs) as bar:
        for epoch in range(len(state.curve), config.epochs):
            best_epoch = int(np.argmax([p["ndcg10"] for p in state.curve])) if state.curve else 0
            if state.seconds > minutes * 60 or epoch - best_epoch > config.patience:
                break
            rng = np.random.default_rng([recipe.seed, epoch])
            losses = [float(step(b)) for b in _batches(data, spec, config.batch, rng)]
            table = item_tower(inputs).numpy()
            ndcg = validation_ndcg(user_tower, table, spec, data)
            state.curve.append({"loss": float(np.mean(losses)), "ndcg10": ndcg})
            state.seconds = time.monotonic() - started
            if ndcg > state.best_ndcg:
                state.best_ndcg, state.best = ndcg, [v.numpy() for v in best]
            _save(checkpoint, everything, state)
            if on_epoch is not None:
                on_epoch(epoch, state.curve[-1])
            bar.advance(epoch + 1, f"loss {state.curve[-1]['loss']:.3f}  NDCG@10 {ndcg:.4f}")
    for variable, value in zip(best, state.best, strict=True):
        variable.assign(value)
    return Fitted(
        user_tower=user_tower, item_tower=item_tower, curve=state.curve, seconds=state.seconds
    )


def user_vectors(
    user_tower: keras.Model,
    table: Floats,
    spec: FeatureSpec,
    data: Dataset,
    cases: list[tuple[int, int]],
) -> Floats:
    """Run the user tower for histories that end before each (user, position); float32 [n, d]."""
    windows = [(user, max(0, end - spec.max_history), end) for user, end in cases]
    batch = _window_arrays(data, spec, windows)
    # The moment of the question is the moment of the held-out event.
    now = np.array([data.ts[data.offsets[u] + end] for u, end in cases])
    ages = np.maximum(now[:, None] - batch["ts"], 0) * batch["real"]
    vectors = table[batch["rows"]] * batch["real"][..., None]
    lengths = batch["real"].sum(1).astype(np.int32)
    inputs = [vectors, batch["events"], ages.astype(np.float32), lengths]
    parts = [
        user_tower([column[at : at + _EVAL_BATCH] for column in inputs], training=False).numpy()
        for at in range(0, len(cases), _EVAL_BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def validation_ndcg(
    user_tower: keras.Model, table: Floats, spec: FeatureSpec, data: Dataset
) -> float:
    """NDCG@10 of the validation events among all items not seen before."""
    cases = data.held_out(VALID)
    scores = user_vectors(user_tower, table, spec, data, cases) @ table.T
    gains = []
    for (user, end), row in zip(cases, scores, strict=True):
        start = int(data.offsets[user])
        target = int(data.rows[start + end])
        wanted = row[target]
        row[data.rows[start : start + end]] = -np.inf
        place = int((row > wanted).sum())
        gains.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    return float(np.mean(gains))


@dataclass(slots=True)
class _Progressed:
    curve: list[dict[str, float]]
    best: list[Any]
    best_ndcg: float
    seconds: float


def _batches(data: Dataset, spec: FeatureSpec, size: int, rng: np.random.Generator) -> Any:
    """Windows of up to L training events a user, cut at a new random phase each epoch."""
    windows = []
    for user in range(data.n_users):
        part = data.fold[data.offsets[user] : data.offsets[user + 1]] == TRAIN
        n = int(part.sum()) if part.all() or not part[-1] else int(np.argmin(part))
        if n < 2:
            continue
        end = n if n <= spec.max_history else n - int(rng.integers(0, spec.max_history))
        stops = (
            [n, *range(end, 1, -spec.max_history)] if end != n else range(n, 1, -spec.max_history)
        )
        windows += [(user, max(0, stop - spec.max_history), stop) for stop in stops]
    order = rng.permutation(len(windows))
    whole = max(size, len(order) // size * size)  # a short last batch would retrace the graph
    for at in range(0, min(whole, len(order)), size):
        chosen = [windows[i] for i in order[at : at + size]]
        batch = _window_arrays(data, spec, chosen)
        # The tower reads only differences of ages, so any common moment serves.
        ages = (batch["ts"].max(1, keepdims=True) - batch["ts"]) * batch["real"]
        yield {
            "rows": tf.constant(batch["rows"]),
            "events": tf.constant(batch["events"]),
            "ages": tf.constant(ages.astype(np.float32)),
            "real": tf.constant(batch["real"]),
        }


def _window_arrays(
    data: Dataset, spec: FeatureSpec, windows: list[tuple[int, int, int]]
) -> dict[str, NDArray[Any]]:
    """Left-aligned windows (user, start, stop): rows, events (+1), ts, real (1 or 0), [n, L]."""
    shape = (len(windows), spec.max_history)
    rows, events = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    ts, real = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for i, (user, start, stop) in enumerate(windows):
        at = slice(int(data.offsets[user]) + start, int(data.offsets[user]) + stop)
        n = stop - start
        rows[i, :n], events[i, :n], ts[i, :n] = data.rows[at], data.events[at] + 1, data.ts[at]
        real[i, :n] = 1.0
    return {"rows": rows, "events": events, "ts": ts, "real": real}


def _save(path: Path, everything: list[Any], state: _Progressed) -> None:
    """One .npz with all variables, the best ones and the curve; written whole or not at all."""
    arrays = {f"now{i}": v.numpy() for i, v in enumerate(everything)}
    arrays |= {f"best{i}": v for i, v in enumerate(state.best)}
    curve = np.array([[p["loss"], p["ndcg10"]] for p in state.curve])
    buffer = io.BytesIO()
    np.savez(
        buffer,
        curve=curve,
        numbers=np.array([state.best_ndcg, state.seconds]),
        allow_pickle=False,
        **arrays,
    )
    write_atomic(path, buffer.getvalue())


def _restore(path: Path, everything: list[Any], n_best: int) -> _Progressed:
    with np.load(path, allow_pickle=False) as saved:
        for i, variable in enumerate(everything):
            variable.assign(saved[f"now{i}"])
        curve = [{"loss": float(a), "ndcg10": float(b)} for a, b in saved["curve"]]
        best_ndcg, seconds = map(float, saved["numbers"])
        best = [saved[f"best{i}"] for i in range(n_best)]
    return _Progressed(curve=curve, best=best, best_ndcg=best_ndcg, seconds=seconds)


def prepare_process(seed: int) -> None:
    """Seed everything and keep TensorFlow quiet; call before models are built."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras.utils.set_random_seed(seed)
