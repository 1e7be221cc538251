"""Assign a device to the arms of experiments: pure functions of its bucket id (FORMAT.md).

A device draws its bucket id once and never sends it. The same bytes decide its share in a rollout,
with another text behind them, so the draws are independent.
"""

import hashlib

from pocketrec_bundle.settings.experiment import Experiment
from pocketrec_bundle.settings.experiment_arms import Arm
from pocketrec_bundle.settings.experiments import Holdout

_BYTES = 6


def unit(bucket_id: bytes, text: bytes) -> float:
    """Return a device's number in [0, 1) for a text: 48 bits of SHA-256(bucket id, text).

    Example:
        >>> round(unit(bytes(range(16)), bytes.fromhex("00" * 16)), 12)
        0.502354389913
    """
    digest = hashlib.sha256(bucket_id + text).digest()
    return int.from_bytes(digest[:_BYTES], "big") / (1 << 8 * _BYTES)


def is_held_out(holdout: Holdout | None, bucket_id: bytes) -> bool:
    """Whether a device is in the holdout, which no experiment enrols."""
    return holdout is not None and unit(bucket_id, bytes.fromhex(holdout.salt)) < holdout.share


def place_in(layer: str, bucket_id: bytes) -> float:
    """Return a device's place in a layer, in [0, 1)."""
    return unit(bucket_id, f"layer:{layer}".encode())


def is_enrolled(experiment: Experiment, bucket_id: bytes, now_utc: float) -> bool:
    """Whether a device is in the part of the segment that is enrolled at a time.

    Dates, state, eligibility and the holdout are not looked at.
    """
    low, high = experiment.segment
    reached = low + (high - low) * (experiment.percent_at(now_utc) / 100)
    return low <= place_in(experiment.layer, bucket_id) < min(reached, high)


def drawn_arm(experiment: Experiment, bucket_id: bytes) -> Arm:
    """Return the arm of an enrolled device: the first whose cumulative share is above its number.

    Example:
        >>> from pocketrec_bundle.settings.experiment import RUNNING
        >>> arms = tuple(Arm(name=name, share=0.5) for name in ("control", "treatment"))
        >>> experiment = Experiment(
        ...     id="blend", hypothesis="", salt="00" * 16, layer="ranking", segment=(0.0, 1.0),
        ...     state=RUNNING, from_utc=0, until_utc=1, arms=arms)
        >>> drawn_arm(experiment, bytes(range(16))).name
        'treatment'
    """
    number, reached = unit(bucket_id, bytes.fromhex(experiment.salt)), 0.0
    for arm in experiment.arms[:-1]:
        reached += arm.share
        if number < reached:
            return arm
    return experiment.arms[-1]


def assigned_arm(
    experiment: Experiment, holdout: Holdout | None, bucket_id: bytes, now_utc: float
) -> Arm | None:
    """Return the arm of a device in a running experiment; None: it is not enrolled.

    Eligibility is not looked at, because it needs more than the bucket id.
    """
    if is_held_out(holdout, bucket_id) or not experiment.runs(now_utc):
        return None
    return drawn_arm(experiment, bucket_id) if is_enrolled(experiment, bucket_id, now_utc) else None
