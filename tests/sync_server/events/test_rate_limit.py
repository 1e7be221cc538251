"""The token bucket and the quota, by hand calculation."""

import pytest

from pocketrec_bundle.units import DAY_S
from pocketrec_server.errors import UploadRefusedError
from pocketrec_server.events.rate_limit import (
    Budget,
    Limits,
    full,
    spend_events,
    spend_upload,
)

LIMITS = Limits(per_minute=6, day_events=10)
NOON = 20_000 * DAY_S + DAY_S / 2


def refused(job):
    with pytest.raises(UploadRefusedError) as caught:
        job()
    assert caught.value.status == 429
    return caught.value.retry_after_s


def test_the_bucket_empties_and_fills_at_its_rate():
    has = full(LIMITS, NOON)
    for _ in range(6):
        has = spend_upload(has, LIMITS, NOON)
    assert has.tokens == 0
    assert refused(lambda: spend_upload(has, LIMITS, NOON)) == 10  # one token takes 10 s
    assert refused(lambda: spend_upload(has, LIMITS, NOON + 7)) == 3
    has = spend_upload(has, LIMITS, NOON + 25)  # 2.5 tokens came, one goes
    assert has.tokens == pytest.approx(1.5)
    assert spend_upload(has, LIMITS, NOON + 10_000).tokens == 5  # a minute's worth, no more


def test_a_clock_that_was_ahead_does_not_lock_an_install_out():
    ahead = Budget(tokens=0, tokens_utc=NOON * 2, quota_day=99_999, quota_used=10)
    assert spend_upload(ahead, LIMITS, NOON).tokens == 5
    assert spend_events(ahead, LIMITS, 4, NOON).quota_used == 4


def test_the_quota_counts_a_day_and_begins_anew():
    has = spend_events(full(LIMITS, NOON), LIMITS, 7, NOON)
    assert refused(lambda: spend_events(has, LIMITS, 4, NOON)) == DAY_S / 2
    assert spend_events(has, LIMITS, 3, NOON).quota_used == 10
    assert spend_events(has, LIMITS, 0, NOON).quota_used == 7
    tomorrow = spend_events(has, LIMITS, 4, NOON + DAY_S)
    assert (tomorrow.quota_day, tomorrow.quota_used) == (20_001, 4)
