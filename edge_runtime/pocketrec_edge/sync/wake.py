"""When a device calls the server next, so that a fleet never calls at once. Pure.

The random part is drawn from the bucket id and the moment before: it needs no state, it differs
between devices, and for one device from time to time. A device that was told of a publish by a hint
waits a random part of `spread_s` too, and so does one whose call failed, longer each time.
"""

import hashlib

from pocketrec_bundle.settings.rollout import SyncPolicy

FIRST_RETRY_S = 60


def next_check(last_utc: float, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return when to check again after a check that was answered; unix seconds."""
    return last_utc + policy.every_s + policy.spread_s * _share(bucket_id, f"check {last_utc:.0f}")


def after_wait(until_utc: float, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return when to sync after a wait that ends for many devices at once, such as a night."""
    return until_utc + policy.spread_s * _share(bucket_id, f"wait {until_utc:.0f}")


def after_hint(hint: str, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return how many seconds to wait after a hint; the hint's text only seeds the draw."""
    return policy.spread_s * _share(bucket_id, f"hint {hint}")


def after_failure(failures: int, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return how many seconds to wait after so many failed calls, 1 or more, in a row.

    A random part of a span that doubles from a minute up to `every_s`, as in `Retry`.
    """
    most = min(policy.every_s, FIRST_RETRY_S * 2.0 ** min(failures - 1, 40))
    return most * _share(bucket_id, f"failure {failures}")


def _share(bucket_id: bytes, moment: str) -> float:
    """A number in 0..1, uniform over bucket ids."""
    digest = hashlib.sha256(bucket_id + moment.encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
