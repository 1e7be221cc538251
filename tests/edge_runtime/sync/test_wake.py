import hashlib

from hypothesis import given
from hypothesis import strategies as st

from pocketrec_bundle.settings.rollout import SyncPolicy
from pocketrec_edge.sync.wake import (
    FIRST_RETRY_S,
    after_failure,
    after_hint,
    after_wait,
    next_check,
)

IDS = st.binary(min_size=16, max_size=16)
POLICY = SyncPolicy(every_s=86_400, spread_s=3600)


@given(IDS, st.integers(0, 2_000_000_000), st.integers(60, 10**6), st.integers(0, 10**5))
def test_the_next_check_is_within_its_spread(bucket_id, last, every_s, spread_s):
    found = next_check(last, SyncPolicy(every_s=every_s, spread_s=spread_s), bucket_id)
    assert last + every_s <= found < last + every_s + max(spread_s, 1)


@given(IDS, st.text(max_size=5))
def test_a_hint_is_followed_within_the_spread(bucket_id, hint):
    assert 0 <= after_hint(hint, POLICY, bucket_id) < 3600
    assert after_hint(hint, SyncPolicy(spread_s=0), bucket_id) == 0


@given(IDS, st.integers(1, 10**6))
def test_waits_after_failures_double_and_end_at_the_usual_one(bucket_id, failures):
    most = min(POLICY.every_s, FIRST_RETRY_S * 2 ** min(failures - 1, 40))
    assert 0 <= after_failure(failures, POLICY, bucket_id) < most


def test_a_fleet_told_at_once_calls_evenly_over_the_spread():
    ids = [hashlib.sha256(bytes([n % 256, n // 256])).digest()[:16] for n in range(10_000)]
    for draw in (
        lambda each: after_hint("7", POLICY, each),
        lambda each: after_wait(5, POLICY, each) - 5,
        lambda each: next_check(5, POLICY, each) - 5 - POLICY.every_s,
    ):
        minutes = [0] * 60
        for each in ids:
            minutes[int(draw(each) // 60)] += 1
        # 167 calls a minute are expected; 6 standard deviations of a Poisson count are 78
        assert max(abs(count - 10_000 / 60) for count in minutes) < 78


def test_the_early_ones_of_one_hint_are_not_those_of_the_next():
    ids = [bytes([n]) * 16 for n in range(256)]
    one, two = ([after_hint(hint, POLICY, each) for each in ids] for hint in ("7", "8"))
    orders = [sorted(ids, key=dict(zip(ids, of, strict=True)).__getitem__) for of in (one, two)]
    assert orders[0] != orders[1]
