"""Apply a release's rules, one after the other, to the candidates of one request.

Between two rules there is a list of candidates, best first, with their relevance. A rule takes
items out, puts them in another order or, the last one, draws others in.
"""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.floats import Floats32, Floats64
from pocketrec_bundle.settings.rules import (
    EXPLORING,
    NAMES,
    BandCalibration,
    BandCap,
    BandThompson,
    CategoryCalibration,
    CategoryCap,
    CategoryThompson,
    Dpp,
    Exploration,
    Freshness,
    Mmr,
    NearDuplicates,
    QualityFloor,
    Rule,
    Rules,
    Sponsored,
)
from pocketrec_edge.answers import RuleEffect
from pocketrec_edge.recommend.index import units
from pocketrec_edge.recommend.rules.caps import bands, within_cap
from pocketrec_edge.recommend.rules.context import Positions, RequestContext, RuleCandidates
from pocketrec_edge.recommend.rules.exploration import Draw, Random, explore, place_odds
from pocketrec_edge.recommend.rules.relevance import freshened, relevance
from pocketrec_edge.recommend.rules.removal import above_floor, distinct
from pocketrec_edge.recommend.rules.results import PlaceProbabilities, RerankResult
from pocketrec_edge.recommend.rules.selection import calibrated, category_marks, commonest, dpp, mmr
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign, Placement, placements
from pocketrec_edge.recommend.rules.thompson import arm_place_odds, explore_arms, posteriors
from pocketrec_edge.recommend.rules.titles import same_words

MOVED, CAPPED, INSERTED = "moved", "capped", "inserted"
Thompson = CategoryThompson | BandThompson
Exploring = Exploration | Thompson
RESERVE = 2
"""A selection goes on to twice the slate, so that what a cap takes out has its next to follow."""


def apply(
    rules: Rules, candidates: RuleCandidates, context: RequestContext, k: int
) -> RerankResult:
    """Choose a slate of at most k items; equal scores count in the order of rows."""
    work = _Work(candidates, context, k, _entering(rules, candidates, k))
    for rule in rules.rules:
        if not isinstance(rule, EXPLORING):
            work.step(rule)
        elif context.rng is not None:
            return work.explored(rule, context.rng)
    return work.slate()


def _entering(rules: Rules, candidates: RuleCandidates, k: int) -> Positions:
    """Return the places of the candidates that enter, best first, integer [<= max(depth, k)]."""
    at = np.lexsort((candidates.rows, -candidates.scores))
    return at[: max(rules.depth, k)]


def place_probabilities(
    rules: Rules, candidates: RuleCandidates, context: RequestContext, k: int
) -> PlaceProbabilities:
    """Return the probability of each item at each place of the slate that `apply` draws.

    An impression's propensity is one of these numbers. Off-policy evaluation needs the others too:
    the items that a policy would show, and how likely the logging policy showed them.

    Args:
        rules: as for `apply`.
        candidates: as for `apply`.
        context: as for `apply`; its `rng` is not used.
        k: slate size.
    """
    work = _Work(candidates, context, k, _entering(rules, candidates, k))
    for rule in rules.rules:
        if isinstance(rule, EXPLORING):
            return work.odds(rule)
        work.step(rule)
    return work.odds(None)


class _Work:
    """The list between two rules: positions `at` of the candidates, best first.

    values: float64 [n], their relevance; held: bool [n], whether a cap has put them back.
    """

    def __init__(
        self, candidates: RuleCandidates, context: RequestContext, k: int, at: Positions
    ) -> None:
        self._candidates, self._context, self._k = candidates, context, k
        self._at = at
        self._values: Floats64 = relevance(candidates.scores[at])
        self._held = np.zeros(len(at), np.bool_)
        self._touched: dict[int, list[RuleEffect]] = {}
        self._sponsored: list[tuple[Placement, int]] = []  # with their positions

    def step(self, rule: Rule) -> None:
        """Apply one rule that draws nothing."""
        name = NAMES[type(rule)]
        match rule:
            case Freshness():
                now, years = self._context.now_utc, self._numeric("year")
                half, weight = rule.half_life_years, rule.weight
                self._values = freshened(self._values, years, now, half, weight)
                self._reorder(name, np.argsort(-self._values, kind="stable"))
            case QualityFloor():
                self._take(above_floor(self._values, rule.relevance))
            case NearDuplicates():
                self._take(self._distinct(rule))
            case CategoryCap():
                self._cap(name, self._categories()[:, rule.place], rule.limit)
            case BandCap():
                self._cap(name, bands(self._numeric(rule.column), rule.bounds), rule.limit)
            case Mmr() | Dpp():
                select = mmr if isinstance(rule, Mmr) else dpp
                own = units(self._candidates.vectors[self._at])
                self._select(name, select(self._values, own, rule.relevance, self._reach))
            case CategoryCalibration():
                codes, counts = commonest(self._context.past_categories)
                self._calibrate(
                    name, category_marks(self._categories(), codes), counts, rule.weight
                )
            case BandCalibration():
                codes = np.arange(1, len(rule.bounds) + 2)
                column = self._candidates.columns.index(rule.column)
                past = bands(self._context.past_numeric[:, column].astype(np.float64), rule.bounds)
                counts = (past[:, None] == codes).sum(axis=0)
                found = bands(self._numeric(rule.column), rule.bounds)
                self._calibrate(name, category_marks(found[:, None], codes), counts, rule.weight)
            case Sponsored():
                self._sponsor(rule)

    def explored(self, rule: Exploring, rng: Random) -> RerankResult:
        """End with a draw: others come from what follows the slate and no cap has put back."""
        k, pool, arms = self._pool(rule)
        if isinstance(rule, Exploration):
            draw = explore(k, len(pool), rule.epsilon, rule.first, rng)
        else:
            draw = self._drawn(rule, k, arms, rng)
        order = np.arange(k)
        for after in np.flatnonzero(draw.other >= 0).tolist():
            order[after] = pool[draw.other[after]]
            self._touch(NAMES[type(rule)], INSERTED, int(order[after]), after)
        self._take(order)
        return self.slate(draw.propensity.tolist())

    def odds(self, rule: Exploring | None) -> PlaceProbabilities:
        """End with the probability of each draw instead of a draw; None: nothing is drawn."""
        k = min(self._k, len(self._at))
        pool, odds = np.zeros(0, np.int64), np.ones((k, 1))
        if rule is not None:
            k, pool, arms = self._pool(rule)
            if isinstance(rule, Exploration):
                odds = place_odds(k, len(pool), rule.epsilon, rule.first)
            else:
                odds = arm_place_odds(k, *self._posteriors(rule, arms), rule.epsilon, rule.first)
        place, column = np.nonzero(odds > 0)
        items = np.concatenate([[0], self._at[pool]])[column]
        items[column == 0] = self._at[place[column == 0]]
        places, positions = list(range(k)), [-1] * k  # of the slate with sponsored items
        for one, position in self._sponsored:
            places.insert(one.place - 1, -1)
            positions.insert(one.place - 1, position)
        open_places = np.flatnonzero(np.array(places, np.int64) >= 0)
        sponsored = np.flatnonzero(np.array(places, np.int64) < 0)
        return PlaceProbabilities(
            positions=np.concatenate([items, np.array(positions, np.int64)[sponsored]]),
            places=1 + np.concatenate([open_places[place], sponsored]),
            probabilities=np.concatenate([odds[place, column], np.ones(len(sponsored))]),
        )

    def _pool(self, rule: Exploring) -> tuple[int, Positions, Positions]:
        """Return the number of places, the positions to draw from in the list, and their arms."""
        k = min(self._k, len(self._at))
        pool = (k + np.flatnonzero(~self._held[k:]))[: rule.pool]
        if isinstance(rule, Exploration):
            return k, pool, np.zeros(0, np.int64)
        found, at = self._candidates, self._at[pool]
        arms = self._arms(rule, found.categories[at], found.numeric[at])
        return k, pool[arms > 0], arms[arms > 0]

    def _drawn(self, rule: Thompson, k: int, arms: Positions, rng: Random) -> Draw:
        at, alphas, betas = self._posteriors(rule, arms)
        return explore_arms(k, at, alphas, betas, rule.epsilon, rule.first, rng)

    def _posteriors(self, rule: Thompson, arms: Positions) -> tuple[Positions, Floats64, Floats64]:
        """Return each item's place in the arms, and both parameters of the arms."""
        codes, at = np.unique(arms, return_inverse=True)
        past, followed = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        if (seen := self._context.feedback) is not None:
            past, followed = self._arms(rule, seen.categories, seen.numeric), seen.followed
        return at, *posteriors(past, followed, codes, rule.alpha, rule.beta)

    def _arms(self, rule: Thompson, categories: NDArray[np.int64], numeric: Floats32) -> Positions:
        """First category or band of items, 0: none."""
        if isinstance(rule, CategoryThompson):
            return np.asarray(categories[:, 0], np.int64)
        column = self._candidates.columns.index(rule.column)
        return bands(numeric[:, column].astype(np.float64), rule.bounds)

    def slate(self, propensities: list[float] | None = None) -> RerankResult:
        """Return the first k of the list, with sponsored items put in at their places."""
        positions: list[int] = self._at[: self._k].tolist()
        propensities = propensities or [1.0] * len(positions)
        campaigns: list[EligibleCampaign | None] = [None] * len(positions)
        for one, position in self._sponsored:
            positions.insert(one.place - 1, position)
            propensities.insert(one.place - 1, 1.0)
            campaigns.insert(one.place - 1, one.campaign)
        return RerankResult(
            positions=positions,
            touched=[tuple(self._touched.get(at, ())) for at in positions],
            propensities=propensities,
            campaigns=campaigns,
        )

    @property
    def _reach(self) -> int:
        """So many of the list may still come to be shown."""
        return RESERVE * self._k

    def _take(self, order: Positions) -> None:
        self._at, self._values = self._at[order], self._values[order]
        self._held = self._held[order]

    def _reorder(self, name: str, order: Positions) -> None:
        for after in np.flatnonzero(order != np.arange(len(order))).tolist():
            if after >= self._reach:
                break
            self._touch(name, MOVED, int(order[after]), after)
        self._take(order)

    def _select(self, name: str, first: Positions) -> None:
        others = np.ones(len(self._at), np.bool_)
        others[first] = False
        self._reorder(name, np.concatenate([first, np.flatnonzero(others)]))

    def _cap(self, name: str, groups: Positions, limit: int) -> None:
        inside = within_cap(groups, limit)
        n_inside = int(inside.sum())
        back = np.flatnonzero(~inside)
        for after, before in enumerate(back.tolist(), n_inside):
            if after >= self._reach:
                break
            self._touch(name, CAPPED, before, after)
        self._held |= ~inside
        self._take(np.concatenate([np.flatnonzero(inside), back]))

    def _sponsor(self, rule: Sponsored) -> None:
        """Take sponsored items out of the list; `slate` puts them in where nothing moves them."""
        rows = self._candidates.rows[self._at]
        settings = rule.places, rule.relevance, rule.per_day
        found = placements(self._context.campaigns, rows, self._values, *settings, self._k)
        for one in found:
            self._touch(NAMES[Sponsored], INSERTED, one.at, one.place - 1)
        self._sponsored = [(one, int(self._at[one.at])) for one in found]
        self._k -= len(found)
        self._take(np.delete(np.arange(len(self._at)), [one.at for one in found]))

    def _calibrate(self, name: str, marks: Floats64, counts: Positions, weight: float) -> None:
        taste = counts / max(int(counts.sum()), 1)
        self._select(name, calibrated(self._values, marks, taste, weight, self._reach))

    def _distinct(self, rule: NearDuplicates) -> Positions:
        context, found = self._context, self._candidates
        rows = [found.rows[self._at], context.shown] if rule.titles else []
        titles = [[same_words(title) for title in found.titles(each)] for each in rows]
        return distinct(
            units(found.vectors[self._at]),
            rule.cosine,
            titles[0] if titles else (),
            units(context.shown_vectors),
            titles[1] if titles else (),
        )

    def _categories(self) -> Positions:
        return np.asarray(self._candidates.categories[self._at], np.int64)

    def _numeric(self, column: str) -> Floats64:
        place = self._candidates.columns.index(column)
        found: Floats64 = self._candidates.numeric[self._at, place].astype(np.float64)
        return found

    def _touch(self, rule: str, how: str, before: int, after: int) -> None:
        effect = RuleEffect(rule=rule, how=how, before=before + 1, after=after + 1)
        self._touched.setdefault(int(self._at[before]), []).append(effect)
