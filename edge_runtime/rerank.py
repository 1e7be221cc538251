"""Re-ranking: the policy's rules, applied greedily from the best score down."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bundle.policy import Policy

Floats = NDArray[np.float32]
_BLOCK = 128
"""Candidates compared with each other at a time; most slates end within the first."""


def rerank(
    policy: Policy, scores: Floats, vectors: Floats, first_category: NDArray[np.int32], k: int
) -> list[int]:
    """Choose the slate out of ranked candidates.

    An item enters unless a near-duplicate is in already (cosine of the item vectors at or above
    `near_duplicate_cosine`) or its first category has reached `category_cap` (code 0, no category,
    is never capped). If fewer than k remain, capped items fill up in score order; near-duplicates
    never do.

    Args:
        policy: the release's rules.
        scores: float32 [n], final scores.
        vectors: float32 [n, d], item vectors.
        first_category: int32 [n], code of each item's first category.
        k: slate size.

    Returns:
        Positions into `scores`, in slate order, at most k.
    """
    chosen: list[int] = []
    capped: list[int] = []
    used: dict[int, int] = {}
    categories = first_category.tolist()
    order = np.argsort(-scores, kind="stable")
    for position in _distinct(vectors, order, policy.near_duplicate_cosine, chosen):
        category = categories[position]
        if policy.category_cap and category and used.get(category, 0) >= policy.category_cap:
            capped.append(position)
            continue
        used[category] = used.get(category, 0) + 1
        chosen.append(position)
        if len(chosen) == k:
            return chosen
    rest = np.array(capped, np.int64)
    for position in _distinct(vectors, rest, policy.near_duplicate_cosine, chosen):
        chosen.append(position)
        if len(chosen) == k:
            break
    return chosen


def _distinct(
    vectors: Floats, order: NDArray[np.int64], cosine: float, chosen: list[int]
) -> Iterator[int]:
    """Yield positions that are no near-duplicate of one in `chosen`, which the caller adds to."""
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        units = _units(vectors[block])
        near = units @ units.T >= cosine  # [block, block]
        gone = (units @ _units(vectors[chosen]).T >= cosine).any(axis=1)
        for place, position in enumerate(block.tolist()):
            if gone[place]:
                continue
            before = len(chosen)
            yield position
            if len(chosen) > before:
                gone |= near[place]


def _units(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return units
