"""Read what `pocketrec events export-sums` wrote: figures of an experiment's arms, day by day."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketrec_bundle.encoding.strict_json import MAX_UTC, is_integer, is_number, parse_json
from pocketrec_bundle.errors import BundleInvalidError, InputError
from pocketrec_bundle.settings.experiment_sums import LATENCY_EDGES_MS
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.errors import EventsInvalidError
from pocketrec_experiments.statistics import Sums
from pocketrec_experiments.statistics.metrics import METRICS

FORMAT, VERSION = "pocketrec-experiment-sums", 1
MAX_BYTES = 4 << 20
_MALFORMED = (LookupError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedArm:
    """Figures of one arm.

    Attributes:
        devices: with an exposure, bots included.
        metrics: sums by metric, bots left out.
        parts: the same for new and existing users; empty if one of them has too few.
        latency_bins: slates by latency; None: counted in the next number; empty with noise.
    """

    devices: int
    metrics: dict[str, Sums]
    parts: dict[str, dict[str, Sums]]
    latency_bins: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Figures of one experiment on one day.

    Attributes:
        at_utc: when they were made, unix seconds.
        k: devices that an arm must have to be shown.
        epsilon: of the noise, for each metric and day; None: without noise.
        currency: of the revenue.
        other_currency_devices: devices whose revenue is left out, if there are at least k.
        arms: by name; None: fewer than k devices.
    """

    at_utc: int
    k: int
    epsilon: float | None
    currency: str | None
    other_currency_devices: int
    arms: dict[str, ReleasedArm | None]


def read_releases(path: Path, design: Design) -> list[Release]:
    """Return the releases of an experiment under its present salt, oldest first.

    Args:
        path: a file, or a folder with files of any experiments.
        design: the experiment.

    Raises:
        EventsInvalidError: the experiment has no file here, or a file is damaged.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    found = [one for file in files if (one := _release(file, design)) is not None]
    if not found:
        raise EventsInvalidError(
            f"{path}: no sums of experiment {design.id} with salt {design.salt[:8]}. Expected a"
            " file of `pocketrec events export-sums`, or its folder."
        )
    return sorted(found, key=lambda one: one.at_utc)


def _release(file: Path, design: Design) -> Release | None:
    """Return the release in a file; None if it is of another experiment or salt."""
    try:
        value = parse_json(str(file), file.read_bytes(), MAX_BYTES)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        if value.get("version") != VERSION:
            raise ValueError(f"version is not {VERSION}: update PocketRec")
        if (value["experiment"], value["salt"]) != (design.id, design.salt):
            return None
        epsilon = value["epsilon"]
        if not is_integer(value["at_utc"], 0, MAX_UTC) or not is_integer(value["k"], 1, 1 << 31):
            raise ValueError("at_utc and k must be integers")
        if epsilon is not None and not is_number(epsilon, 0):
            raise ValueError("epsilon must be a number")
        arms = {str(name): _arm(arm) for name, arm in value["arms"].items()}
        return Release(
            at_utc=value["at_utc"],
            k=value["k"],
            epsilon=None if epsilon is None else float(epsilon),
            currency=None if value["currency"] is None else str(value["currency"]),
            other_currency_devices=int(value["other_currency_devices"]),
            arms=arms,
        )
    except (OSError, BundleInvalidError, InputError, *_MALFORMED) as err:
        raise EventsInvalidError(
            f"{file}: not sums of `pocketrec events export-sums` ({err}). Export them again."
        ) from err


def _arm(value: Any) -> ReleasedArm | None:
    if value is None:
        return None
    bins = tuple(value.get("latency_bins", ()))
    sound = all(n is None or is_integer(n, 0, 1 << 53) for n in bins)
    if not sound or len(bins) not in (0, len(LATENCY_EDGES_MS) + 1):
        raise ValueError(f"latency_bins: expected {len(LATENCY_EDGES_MS) + 1} counts or nulls")
    return ReleasedArm(
        devices=int(value["devices"]),
        metrics=_metrics(value["metrics"]),
        parts={str(name): _metrics(part) for name, part in value.get("parts", {}).items()},
        latency_bins=bins,
    )


def _metrics(value: Any) -> dict[str, Sums]:
    made = {name: Sums.from_plain(value[name]) for name in METRICS}
    for name, metric in METRICS.items():
        full, plain = (metric.ratio(cuped=cuped).quantities for cuped in (True, False))
        if made[name].names not in (full, plain):
            raise ValueError(f"{name}: sums of {', '.join(made[name].names)}")
    return made
