"""Compute when a device calls the server next, with jitter so that a fleet's calls spread out.

Pure functions. The jitter is a hash of the bucket id and the previous time: it needs no state, and
differs between devices and between calls. A hint is followed after a random part of `spread_s`. A
failed call is repeated with exponential backoff.
"""

import hashlib

from pocketrec_bundle.settings.rollout import SyncPolicy

FIRST_RETRY_S = 60


def next_check(last_utc: float, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return when to check again after a successful check, unix seconds."""
    return last_utc + policy.every_s + policy.spread_s * _share(bucket_id, f"check {last_utc:.0f}")


def after_wait(until_utc: float, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return when to sync after a wait that ends for many devices together, such as quiet hours."""
    return until_utc + policy.spread_s * _share(bucket_id, f"wait {until_utc:.0f}")


def after_hint(hint: str, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return the seconds to wait after a hint; its text only seeds the jitter."""
    return policy.spread_s * _share(bucket_id, f"hint {hint}")


def after_failure(failures: int, policy: SyncPolicy, bucket_id: bytes) -> float:
    """Return the seconds to wait after 1 or more failed calls in a row.

    Exponential backoff with full jitter, from a minute up to `every_s`.
    """
    most = min(policy.every_s, FIRST_RETRY_S * 2.0 ** min(failures - 1, 40))
    return most * _share(bucket_id, f"failure {failures}")


def _share(bucket_id: bytes, moment: str) -> float:
    """Return a number in 0..1, uniform over bucket ids."""
    digest = hashlib.sha256(bucket_id + moment.encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
