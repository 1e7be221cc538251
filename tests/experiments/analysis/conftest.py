"""Exports with drawn or given events."""

from pathlib import Path

import pytest

from benchmarks.experiments.drawn_events import EXPERIMENT, SALT, START_UTC
from pocketrec_bundle.units import DAY_S
from pocketrec_experiments.analysis import Design

TABLES = ("requests", "impressions", "interactions", "exposures")


class Export:
    """Rows of an export, by hand. Times are seconds after the start of the experiment."""

    def __init__(self, write_tables) -> None:
        self.rows: dict[str, list[dict]] = {kind: [] for kind in TABLES}
        self._write = write_tables

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
        return self._write(folder, self.rows)


@pytest.fixture
def export(write_tables) -> Export:
    return Export(write_tables)


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
