from typing import Any

import numpy as np
import pytest

from pocketrec_training.cold_start import score_calibration as new_items
from pocketrec_training.cold_start.score_calibration import (
    arrival_ratio,
    arrivals,
    expected_share,
    lift,
    lift_in_company,
    share_of_slates,
)
from pocketrec_training.data.dataset import TRAIN, Dataset, Items


def dataset(events: list[tuple[int, int, int]], n_items: int) -> Dataset:
    """(user, row, ts), by user and time."""
    users, rows, ts = np.array(events).T
    counts = np.bincount(users)
    return Dataset(
        items=Items(
            ids=[f"i{n}" for n in range(n_items)],
            titles=["t"] * n_items,
            categories=[()] * n_items,
            price=np.full(n_items, -1, np.float32),
            year=np.full(n_items, -1, np.float32),
        ),
        user_ids=[f"u{n}" for n in range(len(counts))],
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        rows=rows.astype(np.int32),
        events=np.zeros(len(rows), np.int32),
        ts=ts.astype(np.int64),
        fold=np.full(len(rows), TRAIN, np.int8),
    )


def test_arrival_ratio_by_hand():
    # The last 60% begin after time 5. Items 0 to 2 are known before, 3 arrives, 4 has no event.
    events = [
        (0, 0, 1), (0, 1, 3), (0, 3, 6), (0, 0, 7),  # item 3 new; item 0 again: no first touch
        (1, 1, 2), (1, 2, 4), (1, 3, 8), (1, 0, 9),  # item 3 new, item 0 known
        (2, 3, 6), (2, 0, 10),  # came after the cut: not counted
    ]  # fmt: skip
    ratio = arrival_ratio(dataset(events, 5), window=0.6)
    assert ratio == pytest.approx((2 / 1) / (1 / 3))


def test_arrivals_are_those_of_the_window_latest_first():
    # The last 60% begin after time 4; item 5 has no event.
    events = [(0, 0, 1), (0, 1, 2), (0, 2, 4), (0, 0, 6), (1, 3, 5), (1, 4, 8)]
    assert arrivals(dataset(events, 6), window=0.6).tolist() == [4, 3]
    assert arrivals(dataset(events[:2], 6), window=0.0).tolist() == []


def test_nothing_arrived_means_one():
    assert arrival_ratio(dataset([(0, 0, 1), (0, 1, 1), (0, 0, 9), (0, 1, 9)], 2), 0.5) == 1.0


def test_expected_share_by_hand():
    assert expected_share(2.0, 10, 80) == pytest.approx(0.2)
    assert expected_share(2.0, 0, 80) == 0.0


@pytest.fixture
def vectors():
    rng = np.random.default_rng(3)
    users = (rng.normal(size=(300, 8)) + np.eye(8)[0] * 2).astype(np.float32)
    known = rng.normal(size=(400, 8)).astype(np.float32)
    new = (0.2 * rng.normal(size=(60, 8))).astype(np.float32)  # tame: nobody sees them
    seen = [rng.permutation(400)[:30].astype(np.int32) for _ in users]
    return users, known, new, seen


def shown(users, known, new, seen, slate):
    scores = users @ np.concatenate([known, new]).T
    for row, gone in zip(scores, seen, strict=True):
        row[gone] = -np.inf
    return float((np.argsort(-scores, axis=1)[:, :slate] >= len(known)).mean())


@pytest.mark.parametrize("share", [0.02, 0.15, 0.6])
def test_lifted_items_get_their_share_of_slates(vectors, share):
    users, known, new, seen = vectors
    assert shown(users, known, new, seen, 20) < 0.01
    lifted = lift(new, known, users, seen, share=share, slate=20)
    assert shown(users, known, lifted, seen, 20) == pytest.approx(share, abs=0.01)


def test_items_that_flood_are_lowered(vectors):
    users, known, new, seen = vectors
    flooding = new + users.mean(0) * 6
    assert shown(users, known, flooding, seen, 20) > 0.8
    lowered = lift(flooding, known, users, seen, share=0.1, slate=20)
    assert shown(users, known, lowered, seen, 20) == pytest.approx(0.1, abs=0.01)


def test_order_among_new_items_stays(vectors):
    users, known, new, seen = vectors
    lifted = lift(new, known, users, seen, share=0.3)
    for user in users[:20]:
        assert (np.argsort(new @ user) == np.argsort(lifted @ user)).mean() > 0.9  # near ties aside
        assert np.ptp((lifted - new) @ user) < 1e-4


def test_no_new_items_and_users_without_direction_change_nothing(vectors):
    users, known, new, seen = vectors
    assert lift(new[:0], known, users, seen, share=0.1).shape == (0, 8)
    centred = np.concatenate([users, -users])
    assert lift(new, known, centred, seen * 2, share=0.1) is new


def test_blocks_of_items_change_nothing(vectors, monkeypatch):
    users, known, new, seen = vectors
    whole = lift(new, known, users, seen, share=0.3)
    monkeypatch.setattr(new_items, "_BLOCK", 37)
    np.testing.assert_allclose(lift(new, known, users, seen, share=0.3), whole, atol=1e-4)


def test_share_of_slates_by_hand():
    best = np.array([[3.0, 1.0], [9.0, 8.0]], np.float32)
    new = np.array([[2.0, 0.0, 5.0], [1.0, 2.0, 3.0]], np.float32)
    assert share_of_slates(new, best) == 0.25  # 5 and 3; 9 and 8


class Known:
    """Stands for `ContentVectors`: arrivals that nobody would choose."""

    def __init__(self):
        self.asked = []

    def of_known(self, rows):
        self.asked = rows.tolist()
        return np.random.default_rng(1).normal(size=(len(rows), 8)).astype(np.float32) * 0.2


@pytest.fixture
def arrived():
    """400 items of which the last 40 came in the last quarter of the events, each taken once."""
    early = [(user, row, 1 + row) for user, row in enumerate(range(360))]
    late = [(user, 360 + user, 1000 + user) for user in range(40)]
    again = [(user, (user + 7) % 360, 900 + user % 90) for user in range(360)]
    return dataset(sorted(early + late + again, key=lambda e: (e[0], e[2])), 400)


def test_a_single_item_is_lifted_as_part_of_the_arrivals(vectors, arrived):
    users, known, new, seen = vectors
    made: Any = Known()
    wanted = (new[:1] + users.mean(0) / 4).astype(np.float32)  # fits more users than arrivals do
    alone = lift(wanted, known, users, seen, share=expected_share(arrival_ratio(arrived), 1, 400))
    found = lift_in_company(made, wanted, arrived, known, users, seen)
    assert made.asked == arrivals(arrived).tolist()
    assert len(found) == 1
    # Alone it is as frequent as the mean arrival whatever it is; among them it stands out.
    assert shown(users, known, found, seen, 20) > 2 * shown(users, known, alone, seen, 20)


def test_many_new_items_have_no_company(vectors, arrived, monkeypatch):
    users, known, new, seen = vectors
    monkeypatch.setattr(new_items, "COMPANY", len(new))
    made: Any = Known()
    share = expected_share(arrival_ratio(arrived), len(new), 400)
    found = lift_in_company(made, new, arrived, known, users, seen)
    assert made.asked == []
    np.testing.assert_allclose(found, lift(new, known, users, seen, share=share))
