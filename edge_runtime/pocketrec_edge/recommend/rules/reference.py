"""The rules in their plainest form, one item at a time; tests hold the others against them."""

import math
from collections.abc import Sequence

import numpy as np

from pocketrec_edge.recommend.rules.selection import SMOOTHING
from pocketrec_edge.recommend.rules.sponsored import EligibleCampaign
from pocketrec_edge.recommend.rules.thompson import BINS

Vectors = Sequence[Sequence[float]]


def dot(one: Sequence[float], two: Sequence[float]) -> float:
    """Inner product."""
    return sum(a * b for a, b in zip(one, two, strict=True))


def distinct(units: Vectors, cosine: float, titles: Sequence[str]) -> list[int]:
    """Positions that are no near duplicate of one kept before."""
    kept: list[int] = []
    for at, unit in enumerate(units):
        like = any(dot(unit, units[other]) >= cosine for other in kept)
        same = bool(titles) and titles[at] != "" and titles[at] in [titles[o] for o in kept]
        if not like and not same:
            kept.append(at)
    return kept


def capped(groups: Sequence[int], limit: int) -> list[int]:
    """All positions, those over the limit of their group behind the others."""
    used: dict[int, int] = {}
    inside: list[int] = []
    over: list[int] = []
    for at, group in enumerate(groups):
        used[group] = used.get(group, 0) + 1
        (over if group and used[group] > limit else inside).append(at)
    return inside + over


def mmr(values: Sequence[float], units: Vectors, share: float, k: int) -> list[int]:
    """Maximal marginal relevance, all cosines computed at each step."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(values)):
        gains = {}
        for at in range(len(values)):
            if at not in chosen:
                similar = max((dot(units[at], units[other]) for other in chosen), default=0.0)
                gains[at] = share * values[at] - (1 - share) * similar
        chosen.append(max(gains, key=gains.__getitem__))
    return chosen


def dpp(values: Sequence[float], units: Vectors, share: float, k: int) -> list[int]:
    """Greedy MAP, a determinant for each item at each step."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(values)):
        gains = {}
        for at in range(len(values)):
            if at not in chosen:
                some = [*chosen, at]
                kernel = [[(1 + dot(units[i], units[j])) / 2 for j in some] for i in some]
                volume = float(np.linalg.slogdet(np.array(kernel)).logabsdet)
                gains[at] = share * sum(values[i] for i in some) + (1 - share) * volume
        chosen.append(max(gains, key=gains.__getitem__))
    return chosen


def calibrated(
    values: Sequence[float], marks: Vectors, taste: Sequence[float], weight: float, k: int
) -> list[int]:
    """Steck's greedy selection, the whole objective for each item at each step."""
    chosen: list[int] = []
    while len(chosen) < min(k, len(values)):
        gains = {}
        for at in range(len(values)):
            if at not in chosen:
                some = [*chosen, at]
                divergence = 0.0
                for group, wanted in enumerate(taste):
                    share = sum(marks[i][group] for i in some) / len(some)
                    if wanted:
                        share = (1 - SMOOTHING) * share + SMOOTHING * wanted
                        divergence += wanted * math.log(wanted / share)
                gains[at] = (1 - weight) * sum(values[i] for i in some) - weight * divergence
        chosen.append(max(gains, key=gains.__getitem__))
    return chosen


def chances(alphas: Sequence[float], betas: Sequence[float]) -> list[float]:
    """Probability of each arm that it is the best, bin by bin; two in one bin tie."""
    posteriors = []
    for alpha, beta in zip(alphas, betas, strict=True):
        angles = [math.pi / 2 * (at + 0.5) / BINS for at in range(BINS)]
        logs = [
            (2 * alpha - 1) * math.log(math.sin(x)) + (2 * beta - 1) * math.log(math.cos(x))
            for x in angles
        ]
        density = [math.exp(each - max(logs)) for each in logs]
        posteriors.append([each / sum(density) for each in density])
    best = [0.0] * len(posteriors)
    for at in range(BINS):
        for one, mass in enumerate(posteriors):
            chance = mass[at]
            for two, other in enumerate(posteriors):
                if two != one:
                    chance *= sum(other[:at]) + other[at] / 2
            best[one] += chance
    return [each / sum(best) for each in best]


def sponsored(
    campaigns: Sequence[EligibleCampaign],
    rows: Sequence[int],
    values: Sequence[float],
    places: Sequence[int],
    floor: float,
    per_day: int,
    k: int,
) -> list[int]:
    """Positions of a slate, place by place: the best campaign left, or the best item left."""
    paid: dict[int, int] = {}
    for place in places:
        best: EligibleCampaign | None = None
        for campaign in campaigns:
            if campaign.row not in rows or rows.index(campaign.row) in paid.values():
                continue
            value = values[rows.index(campaign.row)]
            if value < floor or campaign.shown_today >= per_day or place > min(k, len(rows)):
                continue
            order = (campaign.priority, value)
            best_order = (best.priority, values[rows.index(best.row)]) if best else (-1, -1.0)
            if order > best_order or (
                best and order == best_order and campaign.campaign_id < best.campaign_id
            ):
                best = campaign
        if best is not None:
            paid[place] = rows.index(best.row)
    organic = [at for at in range(len(rows)) if at not in paid.values()]
    shown = range(1, min(k, len(rows)) + 1)
    return [paid[place] if place in paid else organic.pop(0) for place in shown]
