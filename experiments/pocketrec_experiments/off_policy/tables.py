"""Exported events to logged slates that can be evaluated.

A request can be evaluated if its context is in the log: a home slate, first page, from the models,
nothing sponsored or interleaved, all its impressions there. Others are counted by reason and left
out, so a value is one of these requests.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketrec_experiments.off_policy.exported import Rewards, exported_tables
from pocketrec_experiments.off_policy.logged import Floats64, Longs, sum_by

Texts = NDArray[np.object_]

NO_RELEASE = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Past:
    """One user's interactions and impressions, oldest first.

    Attributes:
        ts: int64 [n], of the interactions.
        item_ids: texts [n].
        events: texts [n].
        request_ids: texts [n], "" where the interaction names no request.
        shown_ts: int64 [m], of the impressions of all requests, also of those left out.
        shown_ids: texts [m], their items.
        shown_requests: texts [m].
    """

    ts: Longs
    item_ids: Texts
    events: Texts
    request_ids: Texts
    shown_ts: Longs
    shown_ids: Texts
    shown_requests: Texts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedRequests:
    """Requests that can be evaluated, and their impressions by request and place.

    Attributes:
        user: int64 [R], the number of the user, 0..U - 1.
        request_ids: texts [R].
        ts: int64 [R], unix seconds.
        releases: texts [R], first hex digits of the manifest's hash.
        in_arm: bool [R], an arm of an experiment may have changed the slate.
        request: int64 [n], the request of each impression, not decreasing.
        place: int64 [n], from 1; the places of a request are 1..k, in this order.
        item_ids: texts [n].
        propensity: float64 [n].
        reward: float64 [n].
        pasts: interactions of each user, before and after the requests.
        left_out: number of requests that cannot be evaluated, by reason.
    """

    user: Longs
    request_ids: Texts
    ts: Longs
    releases: Texts
    in_arm: NDArray[np.bool_]
    request: Longs
    place: Longs
    item_ids: Texts
    propensity: Floats64
    reward: Floats64
    pasts: tuple[Past, ...]
    left_out: dict[str, int]


def read_requests(
    folder: Path, rewards: Rewards | None = None, *, most: int | None = None
) -> LoggedRequests:
    """Read the requests of an export that can be evaluated.

    Args:
        folder: of `pocketrec events export`.
        rewards: what an impression earns.
        most: about so many requests: whole users, drawn by a hash of their ids; None: all.

    Raises:
        EventsInvalidError: a table is missing, or has no such column.
        InputError: no event of `rewards.events` is in the export.
    """
    with exported_tables(folder, rewards or Rewards()) as tables:
        requests = tables["requests"].drop("arms").order_by("user_id", "ts", "request_id")
        pasts = tables["interactions"].order_by("user_id", "ts", "item_id", "event")
        shown = tables["impressions"].order_by("user_id", "ts", "request_id", "place")
        frames = [one.to_pandas() for one in (requests, shown, pasts)]
    requests, shown, pasts = frames
    return _logged(requests, shown, pasts, most)


def _logged(requests: Any, shown: Any, pasts: Any, most: int | None) -> LoggedRequests:
    """Choose requests, number users and group impressions (pandas frames in, arrays out)."""
    requests = requests.drop_duplicates("request_id")
    all_shown = shown
    at = {one: number for number, one in enumerate(requests["request_id"])}
    request = np.array([at.get(one, -1) for one in shown["request_id"]], np.int64)
    order = np.lexsort((shown["place"].fillna(0).to_numpy(), request))
    order = order[request[order] >= 0]
    shown, request = shown.iloc[order], request[order]
    why = _reasons(requests, shown, request)
    left_out = {reason: int((why == reason).sum()) for reason in np.unique(why).tolist() if reason}
    chosen = np.flatnonzero(why == "")
    users = requests["user_id"].to_numpy()
    if most is not None and len(chosen) > most:
        chosen = _of_some_users(users, chosen, most)
    number = np.full(len(requests), -1, np.int64)
    number[chosen] = np.arange(len(chosen))
    rows = number[request] >= 0
    names, user = np.unique(users[chosen].astype(str), return_inverse=True)
    part = shown[rows]
    kept = requests.iloc[chosen]
    return LoggedRequests(
        user=np.asarray(user, np.int64),
        request_ids=_texts(kept["request_id"]),
        ts=kept["ts"].to_numpy(np.int64),
        releases=_texts(kept["release"]),
        in_arm=kept["in_arm"].fillna(False).to_numpy(bool),
        request=number[request[rows]],
        place=part["place"].to_numpy(np.int64),
        item_ids=_texts(part["item_id"]),
        propensity=part["propensity"].to_numpy(np.float64),
        reward=part["reward"].to_numpy(np.float64),
        pasts=_pasts(pasts, all_shown, names),
        left_out=left_out,
    )


def _reasons(requests: Any, shown: Any, request: Longs) -> NDArray[np.str_]:
    """Return why each request cannot be evaluated, "" if it can."""
    n = len(requests)
    place = shown["place"].fillna(0).to_numpy(np.int64)
    propensity = shown["propensity"].to_numpy(np.float64)
    sound = (propensity > 0) & (propensity <= 1)
    n_shown = sum_by(request, np.ones(len(request)), n)
    n_sound = sum_by(request, sound.astype(np.float64), n)
    squares, sums = sum_by(request, place.astype(float) ** 2, n), sum_by(request, 1.0 * place, n)
    k = n_shown
    whole = (sums == k * (k + 1) / 2) & (squares == k * (k + 1) * (2 * k + 1) / 6)
    wanted = requests["k"].fillna(0).to_numpy(np.int64)
    sponsored = sum_by(request, shown["sponsored"].notna().to_numpy(np.float64), n)
    teams = sum_by(request, shown["team"].notna().to_numpy(np.float64), n)
    found = np.full(n, "", dtype="<U40")
    for reason, out in (
        ("not a home slate", (requests["scene"] != "home").to_numpy(bool)),
        ("a later page", (requests["page"].fillna(1) != 1).to_numpy(bool)),
        ("not from the models", (requests["source"] != "model").to_numpy(bool)),
        ("impressions are missing", (n_shown == 0) | (n_shown != wanted) | ~whole),
        ("without a propensity", n_sound < n_shown),
        ("with sponsored items", sponsored > 0),
        ("interleaved", teams > 0),
    ):
        found[out & (found == "")] = reason
    return found


def _of_some_users(users: Texts, chosen: Longs, most: int) -> Longs:
    """Return the requests of users in the order of a hash, until there are `most`."""
    names, user = np.unique(users[chosen].astype(str), return_inverse=True)
    digests = [hashlib.sha256(str(name).encode()).digest() for name in names.tolist()]
    order = sorted(range(len(names)), key=digests.__getitem__)
    counts = np.bincount(user, minlength=len(names))[order].cumsum()
    taken = np.zeros(len(names), np.bool_)
    taken[order[: int(np.searchsorted(counts, most)) + 1]] = True
    return chosen[taken[user]]


def _pasts(interactions: Any, shown: Any, names: NDArray[np.str_]) -> tuple[Past, ...]:
    ts, shown_ts = (one["ts"].to_numpy(np.int64) for one in (interactions, shown))
    items, events = _texts(interactions["item_id"]), _texts(interactions["event"])
    requests = _texts(interactions["request_id"])
    shown_ids, shown_requests = _texts(shown["item_id"]), _texts(shown["request_id"])
    return tuple(
        Past(
            ts=ts[own],
            item_ids=items[own],
            events=events[own],
            request_ids=requests[own],
            shown_ts=shown_ts[seen],
            shown_ids=shown_ids[seen],
            shown_requests=shown_requests[seen],
        )
        for own, seen in zip(_of_users(interactions, names), _of_users(shown, names), strict=True)
    )


def _of_users(rows: Any, names: NDArray[np.str_]) -> list[slice]:
    """Return where the rows of each user are; the rows are in the order of their users."""
    users = rows["user_id"].to_numpy().astype(str)
    first, last = np.searchsorted(users, names, "left"), np.searchsorted(users, names, "right")
    return [slice(low, high) for low, high in zip(first.tolist(), last.tolist(), strict=True)]


def _texts(column: Any) -> Texts:
    return np.asarray(column.fillna(NO_RELEASE).to_numpy(), np.object_)
