"""Users as a seeded model: when they open the app, and what they do with what they see.

Clicks follow the position-based model (Craswell et al. 2008): an item is looked at with a
probability that falls with its place, and taken, once looked at, with one that is its own.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How users behave.

    opens_per_hour: mean of a Poisson process; fading: the item at place p is looked at with
    probability p ** -fading; attraction: most with which an item that is looked at is taken; more:
    probability of going on to the next page, pages: most of them; act_s: seconds from one act to
    the next.
    """

    opens_per_hour: float = 6.0
    fading: float = 0.7
    attraction: float = 0.4
    more: float = 0.3
    pages: int = 3
    act_s: float = 8.0


class UserModel:
    """One user; the same seed behaves the same way before the same slates."""

    def __init__(self, habits: Habits, seed: str) -> None:
        self.habits, self._seed = habits, seed
        self._rng = random.Random(seed)  # noqa: S311 (a model of people, not a secret)
        self.day_begins_h = self._rng.uniform(0, 24)

    def opens(self, minutes: float) -> Iterator[float]:
        """Yield the minutes at which the app is opened: the first thing, then at random."""
        now = 0.0
        while now < minutes:
            yield now
            now += self._rng.expovariate(self.habits.opens_per_hour / 60)

    def takes(self, item_id: str, place: int) -> bool:
        """Whether the user takes the item at a place, from 1."""
        looks = self._rng.random() < place**-self.habits.fading
        return looks and self._rng.random() < self.habits.attraction * self._taste(item_id)

    def goes_on(self, page: int) -> bool:
        """Whether the user asks for the page after this one, from 1."""
        return page < self.habits.pages and self._rng.random() < self.habits.more

    def chooses(self, names: tuple[str, ...]) -> str:
        """What the user does, of the release's event types."""
        return self._rng.choice(names)

    def drops(self, share: float) -> bool:
        """Whether there is no network at this moment."""
        return self._rng.random() < share

    def _taste(self, item_id: str) -> float:
        """How much of the attraction an item has for this user, 0..1, always the same."""
        return random.Random(f"{self._seed} {item_id}").random()  # noqa: S311
