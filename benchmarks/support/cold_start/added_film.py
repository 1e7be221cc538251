"""A film known by content alone, on phones: who is shown it, and what one like of it changes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.support.phones import Phone
from pocketrec_bundle.errors import PocketRecError
from pocketrec_bundle.features import History
from pocketrec_bundle.products import inner
from pocketrec_edge.device import Device
from pocketrec_edge.events.log import EventLog
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import Query
from pocketrec_edge.recommend.texts import Texts

SLATE = 10
SIBLINGS = 3
"""Most films like the added one that a user is assumed to like, until it is a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an item stands for a user by its retrieval score.

    Attributes:
        better: films that the user has not had and that score higher.
        candidates: number of films that the ranker gets.
        is_candidate: whether the item is one of them.
    """

    better: int
    candidates: int
    is_candidate: bool

    def sentence(self, title: str) -> str:
        """Say it in words, the reason included."""
        if self.is_candidate:
            return f"{title} is a candidate, {self.better} films fit this history better"
        return (
            f"{title} is not a candidate, {self.better} films fit this history better and the"
            f" ranker gets only the first {self.candidates}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A known film like the added one, which the user has not had."""

    item_id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What all phones together show of an added film.

    Attributes:
        phones: how many were looked at.
        at_once: for how many it was a candidate before any like.
        after_siblings: the same after likes of at most `SIBLINGS` films like it.
        kept_added: films of a slate that one like of it keeps, mean over phones.
        kept_sibling: the same for one like of the known film nearest to it.
    """

    phones: int
    at_once: int
    after_siblings: int
    kept_added: float
    kept_sibling: float


@contextmanager
def opened(phone: Phone) -> Iterator[tuple[Recommender, History]]:
    """Open a phone's release and its history."""
    with_release = Device(phone.home)
    try:
        if with_release.bundle is None:
            raise PocketRecError(f"{phone.home}: no release is installed.")
        log = EventLog(phone.home / "events.sqlite")
        try:
            history, _ = log.history(with_release.bundle)
        finally:
            log.close()
        yield Recommender(with_release.bundle), history
    finally:
        with_release.close()


def standing(phone: Phone, item_id: str, likes: Sequence[str] = ()) -> Standing:
    """Look up where an item stands for a phone's user, after likes that are not logged."""
    with opened(phone) as (device, history):
        now, row = int(time.time()), device.bundle.row_of(item_id)
        for liked in likes:
            history = _with_like(device, history, liked, now)
        found = device.recommend(Query(history, now))
        rows = np.flatnonzero(~device.excluded(Query(history, now))).astype(np.int32)
        scores = inner(device.index.vectors(rows), found.user_vector)
        own = inner(device.index.vectors(np.array([row], np.int32)), found.user_vector)[0]
        return Standing(
            better=int((scores[rows != row] > own).sum()),
            candidates=len(found.candidates),
            is_candidate=row in found.candidates.tolist(),
        )


def siblings(phone: Phone, item_id: str, n: int = SIBLINGS) -> list[Sibling]:
    """Return the films nearest to an item, by cosine, that a phone's user has not had."""
    with opened(phone) as (device, history):
        row = device.bundle.row_of(item_id)
        rows = np.flatnonzero(~device.excluded(Query(history, int(time.time())))).astype(np.int32)
        rows = rows[rows != row]
        vectors = device.index.vectors(rows)
        near = inner(vectors, device.index.vectors(np.array([row], np.int32))[0])
        near = near / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
        best = rows[np.argsort(-near, kind="stable")[:n]]
        texts = Texts(device.bundle).of(best)
        return [Sibling(item_id=found_id, title=title) for found_id, title in texts]


def kept(phone: Phone, item_id: str) -> int:
    """Return how many of the user's films would stay in the slate after one like; logs nothing."""
    with opened(phone) as (device, history):
        now = int(time.time())
        liked = _with_like(device, history, item_id, now)
        before, after = (
            {item.row for item in device.recommend(Query(each, now, SLATE)).items}
            for each in (history, liked)
        )
        return len(before & after)


def _with_like(device: Recommender, history: History, item_id: str, now_utc: int) -> History:
    like = device.spec.event_types.index("like")
    return History(
        np.append(history.rows, device.bundle.row_of(item_id)).astype(np.int32),
        np.append(history.events, like).astype(np.int32),
        np.append(history.ts, now_utc),
    )


def mean(values: Sequence[int]) -> float:
    """Return the mean of some counts."""
    return sum(values) / len(values)
