"""Importance weights of a target policy on logged slates, under two assumptions.

- Item-position: the reward of a place depends on the request, the item and the place, and not on
  the other items. The weight is target(item, place) / logging(item, place).
- Position-based: the reward is examination(place) * attraction(request, item). An item that was
  logged at one place then also tells of the others: the weight is the ratio of the item's expected
  examination under both policies. It needs the logging policy in full.

Source: Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay, Wen (2018), Offline Evaluation of Ranking
Policies with Click Models, KDD, section 4: the item-position and the position-based estimators.
"""

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_experiments.off_policy.logged import (
    Flags,
    Floats64,
    LoggedSlates,
    Longs,
    SlatePolicy,
    WeightedLog,
    sum_by,
)

EXPLORED_BELOW = 1 - 1e-9
"""A propensity of at least this counts as 1."""
MOST_PLACES, MOST_ITEMS = 1 << 12, 1 << 28
"""Exclusive bounds of places and item codes, so that a key of request, place and item fits 63 bits
for up to 2^23 requests."""
MOST_REQUESTS = 1 << 23


def item_position(
    log: LoggedSlates, target: SlatePolicy, logging: SlatePolicy | None = None
) -> WeightedLog:
    """Weight each impression by target / logging probability of its item at its place.

    Args:
        log: the logged slates.
        target: the policy to evaluate.
        logging: the policy that showed the slates, to know the support exactly; None: only what
            the log proves is known, namely that a place of propensity 1 could hold no other item.

    Returns:
        The weighted log; its groups are the places.

    Raises:
        InputError: an array is out of its bounds.

    Example:
        >>> log = LoggedSlates(
        ...     users=np.array([0]), request=np.array([0]), place=np.array([1]),
        ...     item=np.array([7]), reward=np.array([1.0]), propensity=np.array([0.25]),
        ...     features=np.zeros((1, 0)),
        ... )
        >>> target = SlatePolicy(
        ...     request=np.array([0]), place=np.array([1]), item=np.array([7]),
        ...     probability=np.array([0.5]), features=np.zeros((1, 0)),
        ... )
        >>> item_position(log, target).weight
        array([2.])
    """
    _check(log, target, logging)
    n = len(log.users)
    keys = _keys(target.request, target.place, target.item)
    wanted = _keys(log.request, log.place, log.item)
    probability = _sums(keys, target.probability, wanted)
    if logging is None:
        supported = _supported_by_the_log(log, target)
    else:
        known = _keys(logging.request, logging.place, logging.item)
        supported = _sums(known, logging.probability, keys) > 0
    places = int(max(target.place.max(initial=0), log.place.max(initial=0)))
    expected = np.zeros((n, places))
    np.add.at(expected, (target.request, target.place - 1), target.probability)
    return WeightedLog(
        users=log.users,
        request=log.request,
        reward=log.reward,
        weight=probability / log.propensity,
        control=np.ones(len(log.request)),
        group=log.place - 1,
        expected=expected,
        features=log.features,
        target_features=_expected_features(target, target.probability, n),
        supported=_by_request(target, target.probability * supported, n),
        places=_by_request(target, target.probability, n),
        support_known=logging is not None,
        explored=_explored(log),
    )


def position_based(
    log: LoggedSlates, target: SlatePolicy, logging: SlatePolicy, examination: Floats64
) -> WeightedLog:
    """Weight each impression by the ratio of its item's expected examination under both policies.

    The features describe item and request, not the place: the reward model is multiplied with the
    examination here.

    Args:
        log: the logged slates.
        target: the policy to evaluate.
        logging: the policy that showed the slates; it must give each logged item some probability.
        examination: float64 [P], above 0: how much a place is looked at, P at least the last place.

    Returns:
        The weighted log; it has one group, whose control is the examination.

    Raises:
        InputError: an array is out of its bounds, or a logged item has no logging probability.
    """
    _check(log, target, logging)
    last = max(policy.place.max(initial=0) for policy in (log, target, logging))
    if len(examination) < last or not (examination > 0).all():
        raise InputError(
            f"examination: {len(examination)} numbers; expected one above 0 for each of {last} "
            "places."
        )
    n = len(log.users)
    wanted = _item_keys(log.request, log.item)
    keys = _item_keys(target.request, target.item)
    seen = target.probability * examination[target.place - 1]
    logged_keys = _item_keys(logging.request, logging.item)
    logged_seen = logging.probability * examination[logging.place - 1]
    below = _sums(logged_keys, logged_seen, wanted)
    if not (below > 0).all():
        raise InputError(
            f"logging policy: {int((below <= 0).sum())} logged items have no probability in it; it "
            "is not the policy that showed them."
        )
    looked = examination[log.place - 1]
    supported = _sums(logged_keys, logged_seen, keys) > 0
    return WeightedLog(
        users=log.users,
        request=log.request,
        reward=log.reward,
        weight=_sums(keys, seen, wanted) / below,
        control=looked,
        group=np.zeros(len(log.request), np.int64),
        expected=_by_request(target, seen, n)[:, None],
        features=looked[:, None] * log.features,
        target_features=_expected_features(target, seen, n),
        supported=_by_request(target, seen * supported, n),
        places=_by_request(target, seen, n),
        support_known=True,
        explored=_explored(log),
    )


def _supported_by_the_log(log: LoggedSlates, target: SlatePolicy) -> Flags:
    """Return the target's rows that the log does not disprove, bool [m]."""
    place = _keys(target.request, target.place, np.zeros_like(target.item))
    own = _keys(log.request, log.place, np.zeros_like(log.item))
    shown = _sums(own, np.ones(len(own)), place) > 0
    fixed = _sums(own, (log.propensity >= EXPLORED_BELOW).astype(np.float64), place) > 0
    keys = _keys(log.request, log.place, log.item)
    alike = _sums(keys, np.ones(len(own)), _keys(target.request, target.place, target.item)) > 0
    flags: Flags = shown & (alike | ~fixed)
    return flags


def _explored(log: LoggedSlates) -> float:
    return float((log.propensity < EXPLORED_BELOW).mean()) if len(log.propensity) else 0.0


def _keys(request: Longs, place: Longs, item: Longs) -> Longs:
    return (request * MOST_PLACES + place) * MOST_ITEMS + item


def _item_keys(request: Longs, item: Longs) -> Longs:
    return request * MOST_ITEMS + item


def _sums(keys: Longs, values: Floats64, wanted: Longs) -> Floats64:
    """Return the sum of the values with each wanted key, float64 [len(wanted)]; 0 without any."""
    found, inverse = np.unique(keys, return_inverse=True)
    sums = np.append(np.bincount(inverse, weights=values, minlength=len(found)), 0.0)
    at = np.searchsorted(found, wanted)
    known = np.append(found, -1)[at] == wanted
    return np.where(known, sums[at], 0.0)


def _expected_features(target: SlatePolicy, mass: Floats64, n: int) -> Floats64:
    columns = [_by_request(target, mass * column, n) for column in target.features.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0))


def _by_request(target: SlatePolicy, values: Floats64, n: int) -> Floats64:
    return sum_by(target.request, values, n)


def _check(log: LoggedSlates, target: SlatePolicy, logging: SlatePolicy | None) -> None:
    """Refuse arrays whose keys would collide or whose numbers are none."""
    n = len(log.users)
    if n >= MOST_REQUESTS:
        raise InputError(f"log: {n} requests; at most {MOST_REQUESTS - 1}. Choose fewer days.")
    for name, rows in (("log", log), ("target", target), ("logging", logging)):
        if rows is None:
            continue
        for what, values, low, high in (
            ("request", rows.request, 0, n),
            ("place", rows.place, 1, MOST_PLACES),
            ("item", rows.item, 0, MOST_ITEMS),
        ):
            if len(values) and not (values.min() >= low and values.max() < high):
                raise InputError(
                    f"{name}.{what}: {values.min()}..{values.max()}; expected {low}..{high - 1}."
                )
    p = log.propensity
    if len(p) and not (p.min() > 0 and p.max() <= 1):
        raise InputError(f"log.propensity: {p.min()}..{p.max()}; expected above 0, at most 1.")
    for what, numbers in (
        ("log.reward", log.reward),
        ("log.features", log.features),
        ("target.features", target.features),
        ("target.probability", target.probability),
    ):
        if not np.isfinite(numbers).all():
            raise InputError(f"{what}: not all numbers are finite.")
    if log.features.shape[1] != target.features.shape[1]:
        raise InputError(
            f"features: {log.features.shape[1]} of the log and {target.features.shape[1]} of the "
            "target; expected as many."
        )
