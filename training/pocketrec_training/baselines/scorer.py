"""The one interface of all baselines, and the tables that several of them count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_matrix

from pocketrec_bundle.features import History
from pocketrec_bundle.floats import Floats32
from pocketrec_training.baselines.ladder import Ladder
from pocketrec_training.data.dataset import TRAIN, Dataset

Asked = Sequence[tuple[int, History]]
"""Users (rows of the dataset), each with a history, which may be empty. The history may reach
beyond the training fold that the baseline counted."""

Scorer = Callable[[Asked], Floats32]
"""Scores all items for each of those asked about, float32 [n, n_items]."""

Build = Callable[..., Scorer]
"""Build a scorer from keyword parameters. Work that several parameters share is done once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A method and the parameters that are searched on validation cases.

    Attributes:
        fit: counts the training fold of a dataset. A hybrid gets the scorers of its parts too.
        ladders: the values of each parameter; empty: there is nothing to choose.
        parts: names of the methods that a hybrid mixes, each with its own tuned parameters.
        budget: parameter sets that are tried at most.
        large_budget: the same for catalogues above `EXACT_ITEMS`, of a slow method; 0 = `budget`.
        cubic: a fit takes time that grows with n_items^3, so that it is tuned on the most popular
            items of large catalogues.
        only_all: scores only items that the user knows, so it is left out for new items.
        most_items: largest catalogue that it can hold in memory, 0 = any.
        needs: a module of the extra `train` that may be missing.
    """

    fit: Callable[..., Build]
    ladders: Mapping[str, Ladder] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    budget: int = 60
    large_budget: int = 0
    cubic: bool = False
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


def marked(asked: Asked, n_items: int) -> csr_matrix:
    """Return 1.0 for each item of each history, float32 [n, n_items]."""
    table = faded(asked, n_items, 1.0)
    table.data[:] = 1.0
    return table


def faded(asked: Asked, n_items: int, decay: float, last: int = 0) -> csr_matrix:
    """Return histories in which an event weighs `decay` times the next one, float32 [n, n_items].

    The last event weighs 1; with decay 0 it is the only one. last: older events are left out;
    0 = the whole history.
    """
    pasts = [past.rows[-last:] for _, past in asked]  # [-0:] is the whole array
    ends = np.cumsum([0, *(len(rows) for rows in pasts)])
    rows = np.concatenate([np.zeros(0, np.int32), *pasts])
    ages = np.repeat(ends[1:], np.diff(ends)) - 1 - np.arange(len(rows))
    weights = np.power(float(decay), ages).astype(np.float32)
    table = csr_matrix((weights, rows, ends), (len(asked), n_items))
    table.sum_duplicates()
    return table
