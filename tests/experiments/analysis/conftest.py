"""Exports with drawn or given events."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design

SCHEMAS = {
    "requests": pa.schema(
        [
            ("request_id", pa.string()),
            ("user_id", pa.string()),
            ("ts", pa.int64()),
            ("source", pa.string()),
            ("ms", pa.float64()),
            ("session_id", pa.string()),
            ("faults", pa.list_(pa.string())),
        ]
    ),
    "impressions": pa.schema(
        [
            ("user_id", pa.string()),
            ("request_id", pa.string()),
            ("item_id", pa.string()),
            ("ts", pa.int64()),
        ]
    ),
    "interactions": pa.schema(
        [
            ("user_id", pa.string()),
            ("item_id", pa.string()),
            ("ts", pa.int64()),
            ("event", pa.string()),
            ("value", pa.float64()),
            ("currency", pa.string()),
            ("request_id", pa.string()),
            ("session_id", pa.string()),
        ]
    ),
    "exposures": pa.schema(
        [
            ("user_id", pa.string()),
            ("experiment", pa.string()),
            ("arm", pa.string()),
            ("salt", pa.string()),
            ("forced", pa.bool_()),
            ("ts", pa.int64()),
        ]
    ),
}


class Export:
    """Rows of an export, by hand. Times are seconds after the start of the experiment."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict]] = {kind: [] for kind in SCHEMAS}

    def exposure(self, user, arm="control", at=0, **more):
        row = {"experiment": EXPERIMENT, "arm": arm, "salt": SALT[:8], "forced": False}
        self._add("exposures", user, at, row | more)

    def request(self, user, name, at=0, **more):
        self._add("requests", user, at, {"request_id": name, "source": "model", "ms": 10.0} | more)

    def impression(self, user, item, at=0, **more):
        self._add("impressions", user, at, {"item_id": item} | more)

    def interaction(self, user, item, at=0, event="click", **more):
        self._add("interactions", user, at, {"item_id": item, "event": event} | more)

    def _add(self, kind, user, at, row):
        self.rows[kind].append({"user_id": user, "ts": START_UTC + int(at)} | row)

    def write(self, folder: Path) -> Path:
        for kind, rows in self.rows.items():
            if rows:
                path = folder / kind / "day=2026-01-01" / "events.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[kind]), path)
        return folder


@pytest.fixture
def export() -> Export:
    return Export()


@pytest.fixture(scope="session")
def design_of():
    """Return a design of some days, with the given arms and guardrails."""

    def make(days: int = 14, arms: dict[str, float] | None = None, **more) -> Design:
        return Design(
            id=EXPERIMENT,
            salt=SALT,
            arms=arms or {"control": 0.5, "treatment": 0.5},
            from_utc=START_UTC,
            until_utc=START_UTC + days * DAY_S,
            **more,
        )

    return make
