"""Exported events to the impressions of an interleaved experiment."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import INTERLEAVED
from pocketrec_experiments.analysis.design import Design
from pocketrec_experiments.analysis.notes import users_left_out
from pocketrec_experiments.analysis.population import population
from pocketrec_experiments.analysis.settings import Settings
from pocketrec_experiments.analysis.tables import open_events
from pocketrec_experiments.off_policy.exported import Rewards, exported_tables
from pocketrec_experiments.off_policy.logged import Floats64, Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeamImpressions:
    """Impressions of interleaved slates.

    Attributes:
        arms: names of teams 0 and 1, control first.
        users: int64 [n].
        team: int64 [n], 0 or 1.
        reward: float64 [n].
        requests: number of interleaved slates.
        left_out: which users are left out and why, one sentence each.
    """

    arms: tuple[str, str]
    users: Longs
    team: Longs
    reward: Floats64
    requests: int
    left_out: tuple[str, ...]


def read_teams(folder: Path, design: Design, rewards: Rewards | None = None) -> TeamImpressions:
    """Read the impressions of an experiment's interleaved slates.

    As in a report, users count from their first exposure to this draw, and until the end of the
    experiment or of the data; users with a forced arm are left out.

    Args:
        folder: of `pocketrec events export`.
        design: the experiment.
        rewards: what an impression earns.

    Raises:
        EventsInvalidError: a table is missing, or has no such column.
        InputError: the export has no interleaved slate of the experiment, or not both teams.
    """
    mixed = replace(design, arms={INTERLEAVED: 1.0})
    with open_events(folder) as events:
        found = population(events, mixed, Settings())
        users = found.users.select("user_id", "exposed").to_pandas()
    within = replace(rewards or Rewards(), until_utc=found.end_utc)
    with exported_tables(folder, within) as tables:
        requests = tables["requests"]
        requests = requests.filter(
            (requests.arms.get(design.id, "") == INTERLEAVED) & (requests.ts < found.end_utc)
        )
        shown = tables["impressions"]
        shown = shown.filter(shown.team.isin(list(design.arms)))
        own = requests.group_by("user_id", "request_id").aggregate(asked=requests.ts.min())
        rows = shown.inner_join(own, ["user_id", "request_id"]).to_pandas()
    rows = rows.merge(users, on="user_id")
    rows = rows[rows["asked"] >= rows["exposed"]]
    return _teams(f"{folder}: experiment {design.id}", rows, design, users_left_out(found))


def _teams(where: str, rows: Any, design: Design, left_out: list[str]) -> TeamImpressions:
    first, second = design.arms
    names = rows["team"].to_numpy().astype(str)
    seen = sorted(set(names.tolist()))
    if len(seen) != 2:
        told = "".join(f" {sentence}" for sentence in left_out)
        raise InputError(
            f"{where}: interleaved impressions of {len(seen)} arms ({', '.join(seen)}); expected "
            f"{first} and {second}. Interleaved experiments log them.{told}"
        )
    _, users = np.unique(rows["user_id"].to_numpy().astype(str), return_inverse=True)
    return TeamImpressions(
        arms=(first, second),
        users=np.asarray(users, np.int64),
        team=np.asarray(names == second, np.int64),
        reward=rows["reward"].to_numpy(np.float64),
        requests=int(rows["request_id"].nunique()),
        left_out=tuple(left_out),
    )
