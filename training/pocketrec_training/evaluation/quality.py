"""Figures of the last test evaluation that the model card repeats."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pocketrec_bundle.disk.files import canonical_json, write_atomic
from pocketrec_training.errors import RunInvalidError
from pocketrec_training.run_folder import RunFolder

_CURVES = ("calibration", "reliability")
"""Of a head, for plots only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A part of `evaluation.json`, of the evaluation fit.

    Attributes:
        split: whose events were measured.
        ranker, threshold: which ranker answered, and how the thresholds of F1 were chosen.
        heads: by head, see `pocketrec_training.evaluation.ranking`.
        value_heads: by head, see `pocketrec_training.evaluation.value_heads`; without the bins.
        item_hits: by setting, see `pocketrec_training.metrics.segments.hits_by_events`.
    """

    split: str
    ranker: str
    threshold: str
    heads: Mapping[str, Any]
    item_hits: Mapping[str, Any]
    value_heads: Mapping[str, Any] = field(default_factory=dict)


def write_quality(run_dir: Path, found: Mapping[str, Any]) -> None:
    """Leave a part of the result of `evaluate` in the run folder, for `pocketrec export`."""
    told = found["protocol"]
    kept = Quality(
        split=told["split"],
        ranker=told["ranker"],
        threshold=told["threshold"],
        heads={
            head: {name: value for name, value in m.items() if name not in _CURVES}
            for head, m in found["ranking"].items()
        },
        item_hits=found["item_hits"],
        value_heads={
            head: {name: value for name, value in m.items() if name != "bins"}
            for head, m in found.get("value_heads", {}).items()
        },
    )
    write_atomic(RunFolder(run_dir).quality, canonical_json(asdict(kept)))


def read_quality(run_dir: Path) -> Quality | None:
    """Read what `write_quality` wrote; None for a run that was not evaluated on the test.

    Raises:
        RunInvalidError: the file is damaged.
    """
    path = RunFolder(run_dir).quality
    if not path.is_file():
        return None
    try:
        return Quality(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as err:
        raise RunInvalidError(f"{path}: damaged ({err}). Evaluate the run again.") from err
