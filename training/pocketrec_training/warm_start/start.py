"""Warm start: begin with the previous release's weights, and end in its item space."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pocketrec_bundle.declared import FittedFeature, FittedFeatures
from pocketrec_bundle.features import FeatureSpec
from pocketrec_bundle.floats import Floats32
from pocketrec_training.data import columns as col
from pocketrec_training.data.dataset import VALID, Dataset, Items
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.towers.feature_inputs import NO_FEATURES
from pocketrec_training.towers.fit import FittedTowers
from pocketrec_training.towers.user_vectors import user_vectors
from pocketrec_training.trained import TrainedRun
from pocketrec_training.warm_start.align import (
    Alignment,
    measure,
    procrustes,
    rotated_item_tower,
    rotated_user_tower,
)

_CHECKED_USERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedTowers:
    """Towers in the previous space, their item matrix float32 [n_items, d], and the figures."""

    user_tower: keras.Model
    item_tower: keras.Model
    table: Floats32
    alignment: Alignment


def check_fits(previous: TrainedRun, spec: FeatureSpec, items: Items) -> None:
    """Refuse a previous run that does not fit the recipe.

    Raises:
        RunInvalidError: its vectors have another length, or it knows none of the items.
    """
    if previous.spec.dim != spec.dim:
        raise RunInvalidError(
            f"--warm-start: the previous run has retrieval.dim = {previous.spec.dim}, the recipe "
            f"{spec.dim}. Keep the dim, or train without --warm-start."
        )
    if not set(previous.items.ids) & set(items.ids):
        raise RunInvalidError("--warm-start: the previous run knows none of these items.")


def copy_weights(
    previous: TrainedRun, spec: FeatureSpec, items: Items, declared: FittedFeatures = NO_FEATURES
) -> Callable[[keras.Model, keras.Model], None]:
    """Return a function that copies the previous weights, for `fit_towers(begin=...)`.

    Tables with a row for each item, category, event type or name of a feature are copied by name;
    new rows start as without a warm start. Other weights are copied if the layers and their shapes
    match.
    """

    def begin(user_tower: keras.Model, item_tower: keras.Model) -> None:
        names: dict[str, tuple[Sequence[str], Sequence[str]]] = {
            "id_table": (previous.items.ids, items.ids),
            "category_table": (previous.spec.categories, spec.categories),
            "event_table": (previous.spec.event_types, spec.event_types),
        }
        before = {one.name: one for one in previous.declared.items}
        for one in declared.items:
            if one.n_codes and one.name in before:
                names[col.FEATURE + one.name] = (_labels(before[one.name]), _labels(one))
        for new, old in (
            (user_tower, previous.user_tower),
            (item_tower, previous.item_tower),
        ):
            _copy(old.get_layer("tower"), new.get_layer("tower"), names)

    return begin


def _labels(fitted: FittedFeature) -> list[str]:
    """Return a text for each code; the same text has the same meaning in another run."""
    buckets = fitted.feature.hash_buckets
    return [*fitted.names, *(f"\0{place} of {buckets}" for place in range(buckets))]


def _copy(old: Any, new: Any, names: dict[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    by_name = {}
    for attribute, (before, after) in names.items():
        if _has_table(old, attribute) and _has_table(new, attribute):
            variable = getattr(new, attribute).embeddings
            row_of = {name: row for row, name in enumerate(before, 1)}  # row 0 is padding
            known = [(to, row_of[name]) for to, name in enumerate(after, 1) if name in row_of]
            table = variable.numpy()
            to, of = np.array([(0, 0), *known]).T
            table[to] = getattr(old, attribute).embeddings.numpy()[of]
            variable.assign(table)
            by_name[id(variable)] = attribute
    if len(old.trainable_variables) != len(new.trainable_variables):
        return  # another number of blocks or kind of attention: the weights mean other things
    for source, target in zip(old.trainable_variables, new.trainable_variables, strict=True):
        if id(target) not in by_name and source.shape == target.shape:
            target.assign(source)


def _has_table(layer: Any, attribute: str) -> bool:
    """Whether a layer has a table of that name; a feature of another kind has a dense part."""
    return hasattr(getattr(layer, attribute, None), "embeddings")


def align_towers(
    previous: TrainedRun, spec: FeatureSpec, fitted: FittedTowers, table: Floats32, data: Dataset
) -> AlignedTowers:
    """Rotate freshly trained towers into the previous run's space.

    Args:
        previous: its item vectors are where known items should stay.
        spec: of the new towers.
        fitted: the new towers, not rotated.
        table: float32 [n_items, d], their item matrix.
        data: what they were trained on; its validation users check that scores stay.
    """
    row_of = {item_id: row for row, item_id in enumerate(previous.items.ids)}
    rows = np.array([row_of.get(item_id, -1) for item_id in data.items.ids])
    known = np.flatnonzero(rows >= 0)
    old = previous.item_vectors[rows[known]]
    rotation = procrustes(old, table[known])
    user_tower = rotated_user_tower(fitted.user_tower, rotation)
    item_tower = rotated_item_tower(fitted.item_tower, rotation)
    aligned = np.asarray(table @ rotation, np.float32)
    cases = data.held_out(VALID)[:_CHECKED_USERS]
    before = user_vectors(fitted.user_tower, table, spec, data, cases) @ table.T
    after = user_vectors(user_tower, aligned, spec, data, cases) @ aligned.T
    return AlignedTowers(
        user_tower=user_tower,
        item_tower=item_tower,
        table=aligned,
        alignment=measure(
            old,
            table[known],
            aligned[known],
            new_items=len(rows) - len(known),
            max_score_change=float(np.abs(after - before).max()),
        ),
    )
