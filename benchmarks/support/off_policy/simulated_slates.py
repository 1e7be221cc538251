"""Logged slates of a drawn world whose truth is known.

Users have tastes, items have qualities; a click has probability attraction(user, item) *
examination(place). The logging policy ranks by a score with errors and explores with the device's
own `explore`. Two targets rank by a better score: one may only put items of the pool into places
(`swapped`), one orders slate and pool freely (`sorted_anew`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketrec_edge.recommend.rules.exploration import explore, place_odds
from pocketrec_experiments.off_policy import LoggedSlates, SlatePolicy

Longs = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Requests of drawn users.

    Attributes:
        users: int64 [R].
        attraction: float64 [R, N], probability of a click if the item is looked at.
        score: float64 [R, N], of the target; higher is better.
        order: int64 [R, N], items by the logging policy's score, best first.
    """

    users: Longs
    attraction: Floats
    score: Floats
    order: Longs


class World:
    """Items and the two rankings; each drawing of users is another log of the same world."""

    def __init__(
        self,
        seed: int,
        *,
        n_items: int = 60,
        places: int = 8,
        pool: int = 12,
        epsilon: float = 0.2,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.places, self.pool, self.epsilon = places, pool, epsilon
        self._items = rng.normal(size=(n_items, 4))
        self._quality = -2.4 + 0.5 * rng.normal(size=n_items)
        self._logging_error = 0.7 * rng.normal(size=n_items)
        self._target_error = 0.5 * rng.normal(size=n_items)
        self.examination: Floats = 1 / np.arange(1, places + 1) ** 0.7

    def requests(self, rng: np.random.Generator, n_users: int, each: int) -> Requests:
        """Draw users with `each` requests."""
        users = np.repeat(np.arange(n_users), each)
        taste, mood = rng.normal(size=(n_users, 4)), 0.3 * rng.normal(size=(n_users, 1))
        logit = self._quality + 0.5 * taste[users] @ self._items.T + mood[users]
        return Requests(
            users=users,
            attraction=1 / (1 + np.exp(-logit)),
            score=logit + self._target_error,
            order=np.argsort(-(logit + self._logging_error), axis=1),
        )

    def swapped(self, requests: Requests) -> Longs:
        """Slates int64 [R, K]: each place keeps its item or has a better one of the pool."""
        rows = np.arange(len(requests.users))
        slate = requests.order[:, : self.places].copy()
        pool = requests.order[:, self.places : self.places + self.pool]
        best = np.argsort(-np.take_along_axis(requests.score, pool, 1), axis=1)
        n_used = np.zeros(len(rows), np.int64)
        for place in range(self.places):
            other = pool[rows, best[rows, n_used]]
            better = requests.score[rows, other] > requests.score[rows, slate[:, place]]
            slate[:, place] = np.where(better, other, slate[:, place])
            n_used += better
        return slate

    def sorted_anew(self, requests: Requests) -> Longs:
        """Slates int64 [R, K]: the best of slate and pool by the target's score."""
        known = requests.order[:, : self.places + self.pool]
        order = np.argsort(-np.take_along_axis(requests.score, known, 1), axis=1)
        return np.take_along_axis(known, order, 1)[:, : self.places]

    def value(self, requests: Requests, slates: Longs) -> float:
        """Expected clicks a request of these slates."""
        attraction = np.take_along_axis(requests.attraction, slates, 1)
        return float((attraction * self.examination).sum(axis=1).mean())

    def log(self, requests: Requests, rng: np.random.Generator, *, by_place: bool) -> LoggedSlates:
        """Show slates and draw clicks; `by_place`: features of the place too."""
        n, k = len(requests.users), self.places
        drawn = [explore(k, self.pool, self.epsilon, 1, rng) for _ in range(n)]
        other = np.stack([one.other for one in drawn])
        column = np.where(other < 0, np.arange(k), k + other)
        item = np.take_along_axis(requests.order, column, 1)
        odds = np.take_along_axis(requests.attraction, item, 1) * self.examination
        request, place = _places(n, k)
        return LoggedSlates(
            users=requests.users,
            request=request,
            place=place,
            item=item.ravel(),
            reward=(rng.random((n, k)) < odds).astype(np.float64).ravel(),
            propensity=np.stack([one.propensity for one in drawn]).ravel(),
            features=self._features(requests, request, place, item.ravel(), by_place),
        )

    def policy(self, requests: Requests, slates: Longs, *, by_place: bool) -> SlatePolicy:
        """Return a policy without exploration."""
        request, place = _places(*slates.shape)
        item = slates.ravel()
        return SlatePolicy(
            request=request,
            place=place,
            item=item,
            probability=np.ones(len(item)),
            features=self._features(requests, request, place, item, by_place),
        )

    def logging(self, requests: Requests) -> SlatePolicy:
        """Return the policy that `log` shows slates by."""
        n, k = len(requests.users), self.places
        odds = place_odds(k, self.pool, self.epsilon, 1)
        at, column = np.nonzero(odds)
        source = np.where(column == 0, at, k + column - 1)
        item = requests.order[:, source].ravel()
        return SlatePolicy(
            request=np.repeat(np.arange(n), len(at)),
            place=np.tile(at + 1, n),
            item=item,
            probability=np.tile(odds[at, column], n),
            features=np.zeros((len(item), 0)),
        )

    def _features(
        self, requests: Requests, request: Longs, place: Longs, item: Longs, by_place: bool
    ) -> Floats:
        """The target's score as a rate, with the score's errors; of each place, if asked."""
        rate = 1 / (1 + np.exp(-requests.score[request, item]))
        if not by_place:
            return np.stack([np.ones(len(rate)), rate], axis=1)
        own = np.eye(self.places)[place - 1]
        return np.concatenate([own, own * rate[:, None]], axis=1)


def _places(n: int, k: int) -> tuple[Longs, Longs]:
    return np.repeat(np.arange(n), k), np.tile(np.arange(1, k + 1), n)
