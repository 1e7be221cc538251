"""The result of `pocketrec policy-value`, as lines for people and as plain JSON values."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pocketrec.policy.value import Found
from pocketrec_experiments.off_policy import Estimate

WORDS = {
    "logged": "logged",
    "ips": "IPS",
    "snips": "SNIPS",
    "dr": "doubly robust",
    "gain": "gain (doubly robust - logged)",
}
"""Keys of the estimates, with their names in the table."""


def plain(found: Found) -> dict[str, Any]:
    """Return plain JSON values; numbers that are not finite are null."""
    value: dict[str, Any] = _finite(asdict(found))
    return value


def lines(found: Found) -> Iterator[str]:
    """Return the lines of the table."""
    value = found.value
    yield f"target: {found.target} ({found.release}), assumption: {found.assumption}"
    yield (
        f"{value.requests:,} requests of {value.users:,} users, {value.impressions:,} impressions, "
        f"{value.explored:.1%} of them at places that explore"
    )
    yield ""
    yield f"{'reward a request':<31}{'estimate':>10}  {'95% interval':<22}"
    for key, word in WORDS.items():
        yield f"{word:<31}{_row(getattr(value, key))}"
    yield ""
    yield f"effective sample size: {value.effective:,.0f} impressions"
    word = "" if value.support_known else "at most "
    yield f"supported: {word}{value.supported:.1%} of the target's places"
    yield (
        f"mean weight: {value.mean_weight.value:.3f} ({value.mean_weight.low:.3f} to "
        f"{value.mean_weight.high:.3f}), largest {value.largest_weight:.1f}, "
        f"{value.clipped:.2%} clipped"
    )
    if found.examination is not None:
        one = found.examination
        yield (
            f"examination: place ** -{one.eta:.2f} (standard error {one.se:.2f}, from "
            f"{one.clicks:,} explored impressions with a reward); the intervals do not "
            "include its error"
        )
    if found.agreement is not None:
        yield f"requests replayed with the logged propensities: {found.agreement:.1%}"
    if found.learns:
        yield (
            "the target learns from impressions: in each request from those exported before it, "
            "which the logging releases showed"
        )
    for source, n in found.unanswered.items():
        yield f"left out, answered by the target's {source}: {n:,} requests"
    for reason, n in found.left_out.items():
        yield f"left out, {reason}: {n:,} requests"


def _row(one: Estimate) -> str:
    return f"{one.value:>10.4g}  {one.low:.4g} to {one.high:.4g}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
