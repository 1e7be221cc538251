"""The one interface of all baselines, and the tables that several of them count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from bundle.features import History
from training.dataset import TRAIN, Dataset

Floats = NDArray[np.float32]
Scorer = Callable[[int, History], Floats]
"""Scores all items for a user (row of the dataset) with a history, which may be empty; float32
[n_items]. The history may reach beyond the training fold that the baseline counted."""

Parameters = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A method and the few settings that are tried on validation cases.

    build: takes the dataset and one of `grid` as keywords. only_all: says nothing about items the
    user does not know, so it is left out where these are asked for. most_items: the largest
    catalogue it can hold in memory, 0 = any. needs: a module of the extra `train` that may lack.
    """

    build: Callable[..., Scorer]
    grid: tuple[Parameters, ...] = ({},)
    only_all: bool = False
    most_items: int = 0
    needs: str = ""


def user_item_table(data: Dataset) -> csr_matrix:
    """Return 1.0 where a user has an item in the training fold, float32 [n_users, n_items]."""
    chosen = data.fold == TRAIN
    users = data.event_users[chosen]
    ones = np.ones(len(users), np.float32)
    table = csr_matrix((ones, (users, data.rows[chosen])), (data.n_users, len(data.items)))
    table.data[:] = 1.0
    return table


def baskets(history: History) -> list[NDArray[np.int32]]:
    """Split a history into baskets, oldest first: the distinct rows of each time stamp."""
    cuts = np.flatnonzero(np.diff(history.ts)) + 1
    return [np.unique(part) for part in np.split(history.rows, cuts)] if len(history) else []
