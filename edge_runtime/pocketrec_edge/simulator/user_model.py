"""A seeded user model: when users open the app, and their interactions with a slate.

Clicks follow the position-based model (Craswell et al. 2008): the user examines an item with a
probability that falls with its rank, and then clicks it with the item's own probability.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

OPENS_PER_HOUR = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Parameters of the user model.

    Attributes:
        opens_per_hour: mean rate at which the app is opened (Poisson process).
        fading: the item at rank p is examined with probability p ** -fading.
        attraction: maximum click probability of an examined item.
        more: probability of requesting the next page.
        pages: maximum pages per session.
        act_s: seconds between two interactions.
    """

    opens_per_hour: float = OPENS_PER_HOUR
    fading: float = 0.7
    attraction: float = 0.4
    more: float = 0.3
    pages: int = 3
    act_s: float = 8.0


class UserModel:
    """One user. The same seed and the same slates give the same behaviour."""

    def __init__(self, habits: Habits, seed: str) -> None:
        self.habits, self._seed = habits, seed
        self._rng = random.Random(seed)  # noqa: S311 (a model of people, not a secret)
        self.day_begins_h = self._rng.uniform(0, 24)

    def opens(self, minutes: float) -> Iterator[float]:
        """Yield the minutes at which the app is opened: at 0, then at random."""
        now = 0.0
        while now < minutes:
            yield now
            now += self._rng.expovariate(self.habits.opens_per_hour / 60)

    def takes(self, item_id: str, place: int, appeal: float = 1.0) -> bool:
        """Return whether the user clicks the item at a rank, from 1; see `chance`."""
        looks = self._rng.random() < self._examines(place)
        return looks and self._rng.random() < self._likes(item_id, appeal)

    def chance(self, item_id: str, place: int, appeal: float = 1.0) -> float:
        """Return the probability that the user clicks the item at a rank.

        Args:
            item_id: of the item.
            place: rank, from 1.
            appeal: factor of the click probability of an examined item; 1 is the usual app.
        """
        return self._examines(place) * self._likes(item_id, appeal)

    def goes_on(self, page: int) -> bool:
        """Return whether the user requests the page after this one, from 1."""
        return page < self.habits.pages and self._rng.random() < self.habits.more

    def chooses(self, names: tuple[str, ...]) -> str:
        """Return the event type of an interaction."""
        return self._rng.choice(names)

    def drops(self, share: float) -> bool:
        """Return whether the network is down at this moment."""
        return self._rng.random() < share

    def _examines(self, place: int) -> float:
        return float(place**-self.habits.fading)

    def _likes(self, item_id: str, appeal: float) -> float:
        return min(1.0, self.habits.attraction * self._taste(item_id) * appeal)

    def _taste(self, item_id: str) -> float:
        """Return the item's constant share of the attraction for this user, 0..1."""
        return random.Random(f"{self._seed} {item_id}").random()  # noqa: S311
