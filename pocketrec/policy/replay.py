"""Replay logged requests with a release: what it would have shown, place by place.

The history of a request is the user's exported interactions before it; rules that learn from
impressions learn from the exported ones before it. Chosen interests, filters and events that were
not uploaded are not in an export. `Replay.agreement` measures the effect: the share of requests in
which the replayed logging release gives each logged item its propensity.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketrec.policy.query_policy import QueryPolicy, query_policy
from pocketrec.policy.rows import PolicyRows, place_features
from pocketrec_bundle.features import History
from pocketrec_bundle.reader import open_bundle
from pocketrec_edge.errors import EngineError
from pocketrec_edge.events.event import IMPRESSION, INTERACTION
from pocketrec_edge.events.feedback import MOST_EVENTS, Impressions, outcomes
from pocketrec_edge.recommend.pipeline import Recommender
from pocketrec_edge.recommend.query import NO_OVERRIDES, Overrides, Query
from pocketrec_edge.recommend.slate import Slate
from pocketrec_experiments.off_policy.logged import LoggedSlates, SlatePolicy
from pocketrec_experiments.off_policy.tables import LoggedRequests, Past

RELEASE_DIGITS = 16
"""Hex digits of the manifest's hash in a logged request."""
NEAR = 1e-6
"""A replayed probability this close to the logged propensity agrees with it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """The policies of a target and of the logging releases in the requests of a log.

    Attributes:
        log: the logged slates that the target answers with its models; all three policies share
            the requests and the item codes.
        target: what the target would show.
        logging: what the logging releases showed; None if one is not at hand, or was changed by
            an experiment.
        agreement: share of the requests in which the replayed logging release gives each logged
            item its propensity; NaN without `logging`.
        unanswered: number of requests that are left out because the target's models did not
            answer, by the source of its answer.
    """

    log: LoggedSlates
    target: SlatePolicy
    logging: SlatePolicy | None
    agreement: float
    unanswered: dict[str, int]


class Release:
    """A bundle with its models loaded."""

    def __init__(self, folder: Path, engine: str = "auto") -> None:
        """Open a bundle.

        Raises:
            BundleInvalidError: the bundle fails a check.
            EngineError: a model cannot be loaded.
        """
        self.bundle = open_bundle(folder)
        self.device = Recommender(self.bundle, engine)
        if self.device.fault is not None:
            raise EngineError(self.device.fault.text)
        self.name = self.bundle.sha256[:RELEASE_DIGITS]
        self._last: tuple[object, Query, Slate] | None = None

    def learns(self, overrides: Overrides) -> bool:
        """Whether the rules learn from the impressions of a device (Thompson sampling)."""
        rules = overrides.rules or self.bundle.rules
        return rules is not None and rules.learns

    def policy(
        self, past: Past, request_id: str, ts: int, k: int, overrides: Overrides
    ) -> tuple[QueryPolicy | None, str]:
        """Return what the release shows to a user at a time, and the source of its answer.

        The policy is None if its models do not answer.

        The models run once for a request that is asked for twice, with and without other rules.
        """
        weights = Overrides(head_weights=overrides.head_weights)
        key = request_id, ts, k, weights.head_weights
        if self._last is None or self._last[0] != key:
            query = Query(self.history(past, request_id, ts), ts, k, overrides=weights)
            self._last = key, query, self.device.recommend(query)
        _, query, slate = self._last
        query = replace(query, overrides=overrides)
        if self.learns(overrides):
            query = replace(query, impressions=self.impressions(past, request_id, ts))
        policy = query_policy(self.device, query, slate)
        return policy, slate.source

    def history(self, past: Past, request_id: str, ts: int) -> History:
        """Return the interactions before a request as rows of the release.

        Of the interactions in the second of the request, those that name it came after it.
        """
        codes = {name: code for code, name in enumerate(self.bundle.spec.event_types)}
        n = int(np.searchsorted(past.ts, ts, side="right"))
        known = [
            (row, codes[event], at)
            for item_id, event, at, of in zip(
                past.item_ids[:n],
                past.events[:n],
                past.ts[:n].tolist(),
                past.request_ids[:n],
                strict=True,
            )
            if not (at == ts and of == request_id)
            and event in codes
            and (row := self.bundle.row_of(item_id)) >= 0
        ]
        rows, events, times = zip(*known, strict=True) if known else ((), (), ())
        return History(
            np.array(rows, np.int32), np.array(events, np.int32), np.array(times, np.int64)
        )

    def impressions(self, past: Past, request_id: str, ts: int) -> Impressions:
        """Return the impressions before a request with their outcomes, as `EventLog.impressions`.

        An export has no order within a second: its impressions come before its interactions.
        """
        shown, acts = past.shown_ts <= ts, past.ts <= ts
        shown &= ~((past.shown_ts == ts) & (past.shown_requests == request_id))
        acts &= ~((past.ts == ts) & (past.request_ids == request_id))
        times = np.concatenate([past.shown_ts[shown], past.ts[acts]])
        items = [*past.shown_ids[shown].tolist(), *past.item_ids[acts].tolist()]
        kinds = [IMPRESSION] * int(shown.sum()) + [INTERACTION] * int(acts.sum())
        order = np.argsort(times, kind="stable")[-MOST_EVENTS:].tolist()
        known = [
            (row, followed)
            for item_id, followed in outcomes((kinds[at], items[at]) for at in order)
            if (row := self.bundle.row_of(item_id)) >= 0
        ]
        return Impressions(
            rows=np.array([row for row, _ in known], np.int32),
            followed=np.array([followed for _, followed in known], np.bool_),
        )


def replay(
    requests: LoggedRequests,
    target: Release,
    overrides: Overrides = NO_OVERRIDES,
    known: Sequence[Release] = (),
    *,
    by_place: bool = True,
) -> Replay:
    """Replay all requests with the target and, where they are at hand, the logging releases.

    Args:
        requests: the log.
        target: the release to evaluate.
        overrides: rules and weights in place of its own.
        known: releases that may have logged; the target's without overrides is one of them.
        by_place: whether the reward model has rates for each place; else for items alone.
    """
    releases = {one.name: one for one in (target, *known)}
    codes = ItemCodes(requests.item_ids)
    n, k = len(requests.user), _places(requests)
    shown, logged = PolicyRows(), PolicyRows()
    scores = np.zeros((len(requests.request), 2))
    first = np.searchsorted(requests.request, np.arange(n + 1))
    unanswered: Counter[str] = Counter()
    number = np.full(n, -1, np.int64)  # of the answered requests
    agrees: list[bool] = []
    at_hand = [name in releases for name in requests.releases] & ~requests.in_arm
    for at in range(n):
        where = requests.pasts[requests.user[at]], requests.request_ids[at], int(requests.ts[at])
        rows = slice(int(first[at]), int(first[at + 1]))
        found, source = target.policy(*where, int(k[at]), overrides)
        if found is None:
            unanswered[source] += 1
            continue
        number[at] = len(agrees)
        own, its_scores = codes.of(target, found.rows), _scores(found, found.rows)
        shown.add(len(agrees), found.places, own, found.probabilities, its_scores)
        logged_rows = [target.bundle.row_of(item) for item in requests.item_ids[rows]]
        scores[rows] = _scores(found, np.array(logged_rows, np.int32))
        its = None
        if at_hand[at]:
            release = releases[requests.releases[at]]
            its, _ = release.policy(*where, int(k[at]), NO_OVERRIDES)
        if its is not None:
            own = codes.of(release, its.rows)
            logged.add(len(agrees), its.places, own, its.probabilities, np.zeros((len(own), 0)))
        agrees.append(its is not None and _agrees(requests, codes, rows, own, its))
    answered, kept = number >= 0, number[requests.request] >= 0
    complete = bool(at_hand[answered].all()) and len(agrees) > 0
    return Replay(
        log=LoggedSlates(
            users=requests.user[answered],
            request=number[requests.request[kept]],
            place=requests.place[kept],
            item=codes.logged[kept],
            reward=requests.reward[kept],
            propensity=requests.propensity[kept],
            features=place_features(requests.place[kept], scores[kept], by_place=by_place),
        ),
        target=shown.policy(by_place=by_place),
        logging=logged.policy(by_place=None) if complete else None,
        agreement=float(np.mean(agrees)) if complete else float("nan"),
        unanswered=dict(unanswered),
    )


class ItemCodes:
    """One integer for each item id, in the log and in all releases."""

    def __init__(self, logged: NDArray[np.object_]) -> None:
        self._codes: dict[str, int] = {}
        self._rows: dict[str, dict[int, int]] = {}
        self.logged = np.array([self._code(one) for one in logged.tolist()], np.int64)

    def of(self, release: Release, rows: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the codes of rows of a release, int64 [n]."""
        known = self._rows.setdefault(release.name, {})
        for row in rows.tolist():
            if row not in known:
                known[row] = self._code(release.bundle.item_id(row))
        return np.array([known[row] for row in rows.tolist()], np.int64)

    def _code(self, item_id: str) -> int:
        return self._codes.setdefault(item_id, len(self._codes))


def _places(requests: LoggedRequests) -> NDArray[np.int64]:
    return np.bincount(requests.request, minlength=len(requests.user))


def _scores(found: QueryPolicy, rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return score and 1 of rows that are candidates, 0 and 0 of others: float64 [n, 2]."""
    known: Mapping[int, float] = dict(
        zip(found.candidates.tolist(), found.scores.tolist(), strict=True)
    )
    return np.array(
        [(known.get(row, 0.0), float(row in known)) for row in rows.tolist()], np.float64
    ).reshape(-1, 2)


def _agrees(
    requests: LoggedRequests,
    codes: ItemCodes,
    rows: slice,
    own: NDArray[np.int64],
    its: QueryPolicy,
) -> bool:
    odds = dict(
        zip(
            zip(own.tolist(), its.places.tolist(), strict=True),
            its.probabilities.tolist(),
            strict=True,
        )
    )
    return all(
        abs(odds.get((item, place), 0.0) - propensity) <= NEAR
        for item, place, propensity in zip(
            codes.logged[rows].tolist(),
            requests.place[rows].tolist(),
            requests.propensity[rows].tolist(),
            strict=True,
        )
    )
