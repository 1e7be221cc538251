"""Cases as a new phone has them."""

import numpy as np
import pytest

from pocketrec_training.data.dataset import VALID
from pocketrec_training.data.short_histories import short_histories


@pytest.fixture(scope="module")
def cases(world):
    _, _, data = world
    return data, data.held_out(VALID)


@pytest.mark.parametrize("length", [0, 1, 3, 1000])
def test_the_newest_events_stay_with_what_comes_after_them(cases, length):
    data, pairs = cases
    short, renamed = short_histories(data, pairs, np.full(len(pairs), length))
    assert len(renamed) == short.n_users == len(pairs)
    for (user, end), (new, kept) in zip(pairs, renamed, strict=True):
        assert kept == min(end, length)
        assert short.user_ids[new] == data.user_ids[user]
        before, now = data.history(user, end), short.history(new, kept)
        for name in ("rows", "events", "ts"):
            whole = getattr(before, name)
            assert getattr(now, name).tolist() == whole[len(whole) - kept :].tolist()
        after = slice(int(data.offsets[user]) + end, int(data.offsets[user + 1]))
        held = slice(int(short.offsets[new]) + kept, int(short.offsets[new + 1]))
        assert short.rows[held].tolist() == data.rows[after].tolist()
        assert short.fold[held].tolist() == data.fold[after].tolist()


def test_one_user_may_be_asked_about_several_moments(cases):
    data, ((user, end), *_) = cases
    short, renamed = short_histories(data, [(user, end), (user, end - 1)], np.array([2, 0]))
    assert renamed == [(0, 2), (1, 0)]
    assert short.user_ids == [data.user_ids[user]] * 2
    assert short.history(1, 0).rows.tolist() == []


def test_no_case_leaves_no_user(cases):
    data, _ = cases
    short, renamed = short_histories(data, [], np.zeros(0, np.int64))
    assert (short.n_users, renamed, len(short.rows)) == (0, [], 0)
