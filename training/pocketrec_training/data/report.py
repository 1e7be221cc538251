"""The report of `pocketrec data`: what went in, what came out, and why rows were put aside."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pocketrec_bundle.disk.files import canonical_json
from pocketrec_training.data import columns as col
from pocketrec_training.data.joins import Join
from pocketrec_training.data.times.forms import TimeRule
from pocketrec_training.errors import TableInvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What went in, what came out, and why rows were put aside; saved as `data_report.json`.

    Attributes:
        examples: for each of `reasons`, the file and line of the first such row.
        time: how times were read; None in folders of earlier versions, and without times.
        nulled: item field to number of values that could not be used; their items stay.
        joins: table to how the ids of the last delivery's interactions match it; not saved.
    """

    dataset: str
    licence: str
    source: str
    rows_in: int
    interactions: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    users: int
    items: int
    first_ts: int
    last_ts: int
    examples: dict[str, str] = field(default_factory=dict)
    time: TimeRule | None = None
    nulled: dict[str, int] = field(default_factory=dict)
    joins: dict[str, Join] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendReport:
    """What one delivery brought; `known` means it was in the folder already, nothing changed."""

    known: bool
    rows_in: int
    interactions: int
    duplicates: int
    quarantined: int
    new_items: int
    report: DataReport


def write_report(report: DataReport, folder: Path) -> None:
    """Write a folder's report, without `joins`."""
    saved = {name: value for name, value in asdict(report).items() if name != "joins"}
    (folder / col.REPORT_FILE).write_bytes(canonical_json(saved))


def saved_report(folder: Path) -> DataReport:
    """Read a folder's report.

    Raises:
        TableInvalidError: it is missing or damaged.
    """
    path = folder / col.REPORT_FILE
    try:
        saved = json.loads(path.read_bytes())
        time = saved.get("time")
        return DataReport(**{**saved, "time": TimeRule(**time) if time else None})
    except OSError as err:
        raise TableInvalidError(
            f"{path}: not there, so nothing to append to. Run `pocketrec data` without --append."
        ) from err
    except (ValueError, TypeError) as err:
        raise TableInvalidError(f"{path}: damaged ({err}). Build the folder again.") from err
