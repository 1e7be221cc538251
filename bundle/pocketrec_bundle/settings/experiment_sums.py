"""Sums of one device in one arm of an experiment: the body that leaves the phone.

`docs/device/what-leaves.md` has its keys. All numbers are integers within limits, so a body has no
fractions, NaN or infinity. The phone cuts a number to its limit; the server refuses a larger one.
Every body has `BODY_BYTES` bytes, so its size says nothing about the user.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pocketrec_bundle.encoding.strict_json import is_integer, matches, parse_json
from pocketrec_bundle.errors import BundleInvalidError
from pocketrec_bundle.settings.experiment import ID, SALT
from pocketrec_bundle.settings.experiment_arms import ARM
from pocketrec_bundle.settings.rollout import CHANNEL

SCHEMA = 1
BODY_BYTES = 2048
"""Length of every body; JSON is padded with spaces."""
MAX_SEQ = 1_000_000
PAST_DAYS = 28
"""Days before the exposure whose sums are the covariate (CUPED)."""
CLICK_WINDOW_S = 7 * 86_400
"""Seconds from an impression to an interaction that counts as its click."""
CONVERSIONS = ("purchase",)
"""Event types that are conversions, unless the signed experiments name others; their value is
revenue."""
MOST_SLATE_MS = 60_000.0
"""The latency of one slate is cut to this."""
PAST_LIMITS = {
    "requests": 100_000,
    "impressions": 1_000_000,
    "clicks": 1_000_000,
    "interactions": 1_000_000,
    "conversions": 10_000,
    "revenue_cents": 1_000_000_000,
    "sessions": 100_000,
    "session_s": 100_000_000,
    "slate_us": 6_000_000_000_000,
    "timed": 100_000,
    "fallbacks": 100_000,
    "failures": 100_000,
}
"""Largest number of each sum; `revenue_cents` may also be as far below 0 (refunds)."""
LIMITS = PAST_LIMITS | {"distinct_items": 1_000_000, "busiest_day": 1_000_000}
"""Those of the time since the exposure: also different items shown, and events on one day."""
SIGNED = ("revenue_cents",)
SCORE_EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Upper edges of the bins of scores, inclusive; a last bin has all above."""
LATENCY_EDGES_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
"""Upper edges of the bins of slate latencies, inclusive; a last bin has all above."""
SUMS_ID = re.compile(r"[0-9a-f]{32}")
CURRENCY = re.compile(r"[A-Z]{3}")
_FORMS = {"channel": CHANNEL, "experiment": ID, "salt": SALT, "arm": ARM, "id": SUMS_ID}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSums:
    """What one device did in its arm since its exposure, and before it.

    Attributes:
        channel: of the experiment.
        experiment: id of the experiment.
        salt: of the experiment.
        arm: of the first exposure.
        id: random, 32 hex digits; one for each device and salt.
        seq: rises with each body of an id; the newest replaces all others.
        currency: of the revenue; None: no conversion names one.
        sums: since the exposure, by the names of `LIMITS`.
        past: in the `PAST_DAYS` before it, by the names of `PAST_LIMITS`.
        score_bins: impressions by score, see `SCORE_EDGES`.
        latency_bins: slates by latency, see `LATENCY_EDGES_MS`.
    """

    channel: str
    experiment: str
    salt: str
    arm: str
    id: str
    seq: int
    currency: str | None
    sums: Mapping[str, int]
    past: Mapping[str, int]
    score_bins: tuple[int, ...]
    latency_bins: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Encode as a body of `BODY_BYTES` bytes."""
        value = {"schema": SCHEMA, "consent": True, **asdict(self)}
        text = json.dumps(value, separators=(",", ":"))
        assert len(text) <= BODY_BYTES
        return text.ljust(BODY_BYTES).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "DeviceSums":
        """Check and read a body.

        Raises:
            BundleInvalidError: it is too large, not JSON, or a key is missing, unknown, of the
                wrong type or out of its limits.
        """
        return cls.from_json(parse_json("the body", data, BODY_BYTES))

    @classmethod
    def from_json(cls, value: object) -> "DeviceSums":
        """Check and read parsed JSON.

        Raises:
            BundleInvalidError: a key is missing, unknown, of the wrong type or out of its limits.
        """
        keys = {"schema", "consent", *cls.__dataclass_fields__}
        if not isinstance(value, dict) or value.keys() != keys:
            raise _invalid(f"expected an object of exactly {', '.join(sorted(keys))}")
        if not is_integer(value["schema"], SCHEMA, SCHEMA):
            raise _invalid(f"schema must be {SCHEMA}")
        if value["consent"] is not True:
            raise _invalid("consent must be true")
        for name, form in _FORMS.items():
            if not matches(form, value[name]):
                raise _invalid(f"{name} has another form")
        if not is_integer(value["seq"], 1, MAX_SEQ):
            raise _invalid(f"seq must be an integer 1..{MAX_SEQ}")
        if value["currency"] is not None and not matches(CURRENCY, value["currency"]):
            raise _invalid("currency must be three capital letters or null")
        _check_counts("sums", value["sums"], LIMITS)
        _check_counts("past", value["past"], PAST_LIMITS)
        for name, edges, most in (
            ("score_bins", SCORE_EDGES, LIMITS["impressions"]),
            ("latency_bins", LATENCY_EDGES_MS, LIMITS["timed"]),
        ):
            bins = value[name]
            sound = isinstance(bins, list) and len(bins) == len(edges) + 1
            if not sound or not all(is_integer(n, 0, most) for n in bins):
                raise _invalid(f"{name} must be {len(edges) + 1} integers 0..{most}")
        fields = {name: value[name] for name in cls.__dataclass_fields__}
        bins_of = {name: tuple(value[name]) for name in ("score_bins", "latency_bins")}
        return cls(**fields | bins_of)


def clipped(counts: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of all names in `limits`, cut to them."""
    return {
        name: max(-most if name in SIGNED else 0, min(most, counts[name]))
        for name, most in limits.items()
    }


def binned(values: Iterable[float], edges: tuple[float, ...], most: int) -> tuple[int, ...]:
    """Count values by bin; `edges` are inclusive upper ends, `most` cuts each count."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value)] += 1
    return tuple(min(n, most) for n in counts)


def _check_counts(where: str, value: object, limits: Mapping[str, int]) -> None:
    if not isinstance(value, dict) or value.keys() != limits.keys():
        raise _invalid(f"{where} must have exactly the keys {', '.join(limits)}")
    for name, most in limits.items():
        low = -most if name in SIGNED else 0
        if not is_integer(value[name], low, most):
            raise _invalid(f"{where}.{name} must be an integer {low}..{most}")
    for part, whole in (
        ("clicks", "impressions"),
        ("timed", "requests"),
        ("fallbacks", "requests"),
        ("failures", "requests"),
        ("conversions", "interactions"),
        ("distinct_items", "impressions"),
    ):
        if value.get(part, 0) > value[whole]:
            raise _invalid(f"{where}.{part} must not exceed {where}.{whole}")


def _invalid(why: str) -> BundleInvalidError:
    return BundleInvalidError(f"the body: {why}", code="experiment_sums")
