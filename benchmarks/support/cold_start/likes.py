"""Measure how one event with a new item changes the user's slate and the next recommendation.

A new item's vector is also what the user tower reads once a user has the item. Two measures. Kept:
how many of a user's first ten known items stay after one more event with a known item, and after
the same event if that item's vector were made from its content alone, as for a new item. Sequels:
a user's first known item after the first new one, found with the new event in the history, and
found with it left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.support.cold_start.scores import Values, as_stored
from benchmarks.support.cold_start.split import ColdSplit
from pocketrec_bundle.features import FeatureSpec, History, tower_inputs, used_rows
from pocketrec_bundle.floats import Floats32
from pocketrec_bundle.units import DAY_S
from pocketrec_training.cold_start.content_vectors import ContentVectors
from pocketrec_training.cold_start.score_calibration import run_tower
from pocketrec_training.data import columns as col

SLATE, AMONG = 10, 200
"""Places of the slate that is compared; the liked item is drawn from so many best ones."""

USERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """A user's events up to the first one with a new item, and the known item that came next.

    Attributes:
        history: of known items, the events after the cut included.
        new_row: row of the new item; event: its code; ts: unix seconds.
        wanted: row of the next known item that the history lacks.
        now_utc: when that was taken, later than `ts`.
    """

    history: History
    new_row: int
    event: int
    ts: int
    wanted: int
    now_utc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Of a slate's ten items, those that stay after one event, by user.

    Attributes:
        known: float64 [u], the event's item with its trained vector.
        as_new: float64 [u], the same item with a vector from its content alone.
    """

    known: Values
    as_new: Values


def sequels(case: ColdSplit, tables: Path, event_types: Sequence[str]) -> list[Sequel]:
    """Find each user's sequel, one at most; in time order, items of one second by id."""
    events = duckdb.execute(
        "SELECT user_id, item_id, event, ts FROM read_parquet(?) WHERE ts > ? AND ts <= ? "
        "ORDER BY user_id, ts, item_id",
        [str(tables / col.INTERACTIONS_FILE), case.cut_utc, case.end_utc],
    ).fetchall()
    user_of = {user_id: user for user, user_id in enumerate(case.known.user_ids)}
    later: dict[int, list[tuple[str, int, int]]] = {}
    for user_id, item_id, event, ts in events:
        if user_id in user_of:
            code = list(event_types).index(event)
            later.setdefault(user_of[user_id], []).append((item_id, code, int(ts)))
    known = {item_id: row for row, item_id in enumerate(case.known.items.ids)}
    new = {item_id: row for row, item_id in enumerate(case.new.ids)}
    found = (_sequel(case.known.history(user), later[user], known, new) for user in sorted(later))
    return [each for each in found if each is not None]


def _sequel(
    past: History, later: list[tuple[str, int, int]], known: dict[str, int], new: dict[str, int]
) -> Sequel | None:
    at = next((n for n, (item_id, *_) in enumerate(later) if item_id in new), None)
    if at is None:
        return None
    item_id, event, ts = later[at]
    before = [(known[item], code, when) for item, code, when in later[:at] if item in known]
    rows, codes, times = (list(part) for part in zip(*before, strict=True)) if before else ([],) * 3
    history = History(
        np.concatenate([past.rows, np.array(rows, np.int32)]),
        np.concatenate([past.events, np.array(codes, np.int32)]),
        np.concatenate([past.ts, np.array(times, np.int64)]),
    )
    had = set(history.rows.tolist())
    for item, _, when in later[at + 1 :]:
        if when > ts and item in known and known[item] not in had:
            return Sequel(
                history=history,
                new_row=new[item_id],
                event=event,
                ts=ts,
                wanted=known[item],
                now_utc=when,
            )
    return None


def recall_of_sequels(
    tower: keras.Model,
    spec: FeatureSpec,
    known: Floats32,
    cases: Sequence[Sequel],
    new: Floats32 | None,
    k: int,
) -> Values:
    """Whether the wanted item is among the first `k` known ones not had, float64 [cases].

    Args:
        tower: see `pocketrec_training.towers.user_tower.build_user_tower`.
        spec: of the tower.
        known: float32 [n, d].
        cases: see `sequels`.
        new: float32 [m, d], vectors of new items; None leaves the new event out.
        k: places.
    """
    inputs = []
    for case in cases:
        history, vectors = case.history, known[used_rows(spec, case.history)]
        if new is not None:
            history, vectors = _with(spec, history, vectors, new[case.new_row], case.event, case.ts)
        inputs.append(tower_inputs(spec, history, vectors, case.now_utc))
    scores = run_tower(tower, inputs, len(inputs)) @ known.T
    found = np.zeros(len(cases))
    for at, case in enumerate(cases):
        wanted = scores[at, case.wanted]
        scores[at, case.history.rows] = -np.inf
        found[at] = (scores[at] > wanted).sum() < k
    return found


def kept(
    case: ColdSplit,
    tower: keras.Model,
    spec: FeatureSpec,
    made: ContentVectors,
    shift: Floats32,
    known: Floats32,
    seed: int,
) -> Kept:
    """Compare one event with known items to the same event if they were new.

    Args:
        case: the cut.
        tower: the user tower.
        spec: of the tower.
        made: makes vectors from content.
        shift: float32 [d], what the lift added to the new items.
        known: float32 [n, d].
        seed: draws the users and the item of each, among the best ones for that user.
    """
    rng = np.random.default_rng(seed)
    users = rng.permutation(case.users)[:USERS]
    histories = [case.known.history(int(user)) for user in users]
    now = case.cut_utc
    before = run_tower(
        tower,
        (tower_inputs(spec, h, known[used_rows(spec, h)], now) for h in histories),
        len(users),
    )
    seen = [history.rows for history in histories]
    best = _top(before @ known.T, seen, AMONG)
    liked = best[np.arange(len(users)), rng.integers(best.shape[1], size=len(users))]
    event = len(spec.event_types) - 1
    stays = []
    for vectors in (known[liked], as_stored(made.of_known(liked) + shift)):
        inputs = []
        for history, vector in zip(histories, vectors, strict=True):
            own = known[used_rows(spec, history)]
            inputs.append(
                tower_inputs(spec, *_with(spec, history, own, vector, event, now), now + DAY_S)
            )
        after = _top(run_tower(tower, inputs, len(inputs)) @ known.T, seen, SLATE)
        stays.append(
            np.array(
                [np.isin(a, b).sum() for a, b in zip(after, best[:, :SLATE], strict=True)], float
            )
        )
    return Kept(known=stays[0], as_new=stays[1])


def _with(
    spec: FeatureSpec, history: History, vectors: Floats32, vector: Floats32, event: int, ts: int
) -> tuple[History, Floats32]:
    """Add an event with an item that may have no row; the tower reads events, times and vectors."""
    longer = History(
        np.append(history.rows, 0).astype(np.int32),
        np.append(history.events, event).astype(np.int32),
        np.append(history.ts, ts),
    )
    return longer, np.concatenate([vectors, vector[None]])[-spec.max_history :]


def _top(scores: Floats32, seen: Sequence[NDArray[np.int32]], k: int) -> NDArray[np.int64]:
    """Return each row's `k` best columns, those seen left out, best first; int64 [u, k]."""
    for row, gone in zip(scores, seen, strict=True):
        row[gone] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
