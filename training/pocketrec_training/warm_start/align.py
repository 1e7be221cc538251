"""Rotate a retrained space onto the space of the previous release, so item vectors move little.

A trained space is unique up to a rotation: scores are inner products, and u . v = (u R) . (v R) for
an orthogonal R. The orthogonal Procrustes solution (Schoenemann 1966) is the R that moves the
common items nearest to their previous vectors. It becomes a fixed linear layer of both towers. So
the models answer in the previous space and no score changes.
"""

import zlib
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.quantize import quantize_rows

_LEVEL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The effect of a rotation; saved in `train_report.json`.

    A movement is the mean distance of a known item's vector to its previous vector, divided by the
    mean length of the previous vectors. Delta bytes are the compressed element-wise difference of
    the int8 rows of known items; rows_bytes are these rows uncompressed.
    """

    known_items: int
    new_items: int
    movement_before: float
    movement_after: float
    delta_bytes_before: int
    delta_bytes_after: int
    rows_bytes: int
    max_score_change: float


def procrustes(old: Floats32, new: Floats32) -> Floats32:
    """Return the orthogonal R, float32 [d, d], that minimises |new R - old| (Frobenius).

    R = U W^T of the singular value decomposition new^T old = U S W^T (Schoenemann 1966, eq. 11).

    Args:
        old: float32 [n, d], where the rows were.
        new: float32 [n, d], the same items in the new space.
    """
    u, _, w = np.linalg.svd(new.astype(np.float64).T @ old.astype(np.float64))
    return np.asarray(u @ w, np.float32)


def rotated_user_tower(tower: keras.Model, rotation: Floats32) -> keras.Model:
    """Return the user tower that reads and answers in the rotated space: f'(V R) = f(V) R.

    Args:
        tower: of `build_user_tower`; its layers are shared with the result.
        rotation: float32 [d, d], orthogonal.
    """
    vectors, events, ages, n = (
        keras.Input(one.shape[1:], dtype=one.dtype, name=one.name) for one in tower.inputs
    )
    back = _fixed(rotation.T, "rotation_in")(vectors)
    states = tower.get_layer("tower")(back, events, ages)
    last = tower.get_layer("user_vector")(states, n)
    out = _fixed(rotation, "rotation_out")(last)
    return keras.Model([vectors, events, ages, n], out, name=tower.name)


def rotated_item_tower(tower: keras.Model, rotation: Floats32) -> keras.Model:
    """Return the item tower that answers in the rotated space; its layers are shared."""
    inputs = {
        name: keras.Input(one.shape[1:], dtype=one.dtype, name=name)
        for name, one in tower.input.items()
    }
    out = _fixed(rotation, "rotation_out")(tower.get_layer("tower")(**inputs))
    return keras.Model(inputs, out, name=tower.name)


def movement(old: Floats32, new: Floats32) -> float:
    """Return the mean distance of rows to their old place over the mean length of the old."""
    moved = float(np.linalg.norm(new - old, axis=1).mean())
    return moved / max(float(np.linalg.norm(old, axis=1).mean()), 1e-12)


def delta_bytes(old: Floats32, new: Floats32) -> int:
    """Return the compressed size of the difference of two matrices' int8 rows.

    The difference is element-wise, because a dictionary coder finds no match if each value changed.
    """
    with np.errstate(over="ignore"):  # int8 arithmetic goes round, and back on the device
        difference = quantize_rows(new)[0] - quantize_rows(old)[0]
    # Column by column, as values of one dimension have one spread.
    return len(zlib.compress(np.ascontiguousarray(difference.T).tobytes(), _LEVEL))


def measure(
    old: Floats32, new: Floats32, aligned: Floats32, *, new_items: int, max_score_change: float
) -> Alignment:
    """Measure a rotation on the rows that both releases know, all float32 [n, d]."""
    return Alignment(
        known_items=len(old),
        new_items=new_items,
        movement_before=movement(old, new),
        movement_after=movement(old, aligned),
        delta_bytes_before=delta_bytes(old, new),
        delta_bytes_after=delta_bytes(old, aligned),
        rows_bytes=old.size,
        max_score_change=max_score_change,
    )


def _fixed(matrix: Floats32, name: str) -> layers.Dense:
    # A Dense layer and not one of our own: every converter knows it and quantizes its weights.
    layer = layers.Dense(len(matrix), use_bias=False, trainable=False, name=name)
    layer.build((None, len(matrix)))
    layer.set_weights([matrix])
    return layer
