"""Re-ranking: the policy's rules, applied greedily from the best score down."""

import numpy as np
from numpy.typing import NDArray

from bundle.policy import Policy

Floats = NDArray[np.float32]


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
    order = np.argsort(-scores, kind="stable")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, 1e-12)
    chosen: list[int] = []
    capped: list[int] = []
    used: dict[int, int] = {}
    for position in map(int, order):
        if len(chosen) == k:
            break
        if _is_duplicate(policy, units, chosen, position):
            continue
        category = int(first_category[position])
        if policy.category_cap and category and used.get(category, 0) >= policy.category_cap:
            capped.append(position)
            continue
        used[category] = used.get(category, 0) + 1
        chosen.append(position)
    for position in capped:
        if len(chosen) == k:
            break
        if not _is_duplicate(policy, units, chosen, position):
            chosen.append(position)
    return chosen


def _is_duplicate(policy: Policy, units: Floats, chosen: list[int], position: int) -> bool:
    if not chosen:
        return False
    return bool((units[chosen] @ units[position]).max() >= policy.near_duplicate_cosine)
