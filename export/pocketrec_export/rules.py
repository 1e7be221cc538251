"""The rules of a release, from the recipe's settings and the release's own popularity."""

import numpy as np
from numpy.typing import NDArray

from pocketrec_bundle.settings.rules import (
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
from pocketrec_training.recipe.schema import RerankConfig

HEAD_SHARE = TAIL_SHARE = 0.2
"""Of all events, what the most and the least popular items have (Abdollahpouri et al. 2021)."""


def release_rules(config: RerankConfig, popularity: NDArray[np.float32]) -> Rules | None:
    """Return the rules of a recipe in their order.

    1. Rules that change the relevance or remove items.
    2. Selection of the slate.
    3. Caps, which can replace selected items.
    4. Sponsored places.
    5. Exploration.

    Args:
        config: of the recipe.
        popularity: float32 [N], events of each item.

    Returns:
        None if the recipe asks for nothing that `policy.json` cannot say.
    """
    before: list[Rule] = []
    if config.freshness:
        half_life = config.freshness_half_life
        before.append(Freshness(half_life_years=half_life, weight=config.freshness))
    if config.floor:
        before.append(QualityFloor(relevance=config.floor))
    after: list[Rule] = []
    if config.price_cap:
        limit, bounds = config.price_cap, config.price_bounds
        after.append(BandCap(column="price", bounds=bounds, limit=limit))
    if config.sponsored_places:
        after.append(
            Sponsored(
                places=config.sponsored_places,
                relevance=config.sponsored_floor,
                per_day=config.sponsored_per_day,
            )
        )
    if config.explore:
        after.append(_exploration(config, popularity))
    chosen = _selection(config, popularity)
    policy_says_all = not config.near_duplicate_titles and not config.category_cap_place
    if policy_says_all and not (before or chosen or after):
        return None
    cosine, titles = config.near_duplicate_cosine, config.near_duplicate_titles
    before.append(NearDuplicates(cosine=cosine, titles=titles))
    if config.category_cap:
        place = config.category_cap_place
        after.insert(0, CategoryCap(place=place, limit=config.category_cap))
    return Rules(rules=(*before, *chosen, *after), depth=config.depth)


def _selection(config: RerankConfig, popularity: NDArray[np.float32]) -> list[Rule]:
    """The one rule that chooses the slate item by item, if there is any."""
    if config.diversity == "mmr":
        return [Mmr(relevance=config.diversity_relevance)]
    if config.diversity == "dpp":
        return [Dpp(relevance=config.diversity_relevance)]
    if config.category_calibration:
        return [CategoryCalibration(weight=config.category_calibration)]
    if config.popularity_calibration:
        weight, bounds = config.popularity_calibration, popularity_bounds(popularity)
        return [BandCalibration(column="popularity", bounds=bounds, weight=weight)]
    return []


def _exploration(config: RerankConfig, popularity: NDArray[np.float32]) -> Rule:
    epsilon, pool, first = config.explore, config.explore_pool, config.explore_first
    if config.explore_by == "uniform":
        return Exploration(epsilon=epsilon, pool=pool, first=first)
    alpha, beta = config.explore_prior
    if config.explore_by == "category":
        return CategoryThompson(epsilon=epsilon, pool=pool, first=first, alpha=alpha, beta=beta)
    by_price = config.explore_by == "price"
    return BandThompson(
        column=config.explore_by,
        bounds=config.price_bounds if by_price else popularity_bounds(popularity),
        epsilon=epsilon,
        pool=pool,
        first=first,
        alpha=alpha,
        beta=beta,
    )


def popularity_bounds(popularity: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the lower bounds of the middle and the head, increasing; one number if equal."""
    falling = np.sort(popularity)[::-1].astype(np.float64)
    before = np.cumsum(falling) - falling  # events of what is more popular
    total = max(float(falling.sum()), 1.0)
    head = falling[before < HEAD_SHARE * total][-1]
    middle = falling[before < (1 - TAIL_SHARE) * total][-1]
    return tuple(sorted({float(middle), float(head)}))
