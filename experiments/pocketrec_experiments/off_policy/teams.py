"""Exported events to the impressions of an interleaved experiment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketrec_bundle.errors import InputError
from pocketrec_bundle.settings.experiment import INTERLEAVED
from pocketrec_experiments.off_policy.exported import Rewards, exported_tables
from pocketrec_experiments.off_policy.logged import Floats64, Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TeamImpressions:
    """Impressions of interleaved slates.

    Attributes:
        arms: names of teams 0 and 1, in the order of the alphabet.
        users: int64 [n].
        team: int64 [n], 0 or 1.
        reward: float64 [n].
        requests: number of interleaved slates.
    """

    arms: tuple[str, str]
    users: Longs
    team: Longs
    reward: Floats64
    requests: int


def read_teams(folder: Path, experiment: str, rewards: Rewards | None = None) -> TeamImpressions:
    """Read the impressions of an experiment's interleaved slates.

    Args:
        folder: of `pocketrec events export`.
        experiment: its id.
        rewards: what an impression earns.

    Raises:
        EventsInvalidError: a table is missing, or has no such column.
        InputError: the export has no interleaved slate of the experiment, or not two teams.
    """
    with exported_tables(folder, rewards or Rewards()) as tables:
        requests = tables["requests"]
        requests = requests.filter(requests.arms.get(experiment, "") == INTERLEAVED)
        shown = tables["impressions"]
        shown = shown.filter(shown.team.notnull())
        own = requests.select("user_id", "request_id").distinct()
        found = shown.inner_join(own, ["user_id", "request_id"]).to_pandas()
    arms, team = np.unique(found["team"].to_numpy().astype(str), return_inverse=True)
    if len(arms) != 2:
        raise InputError(
            f"{folder}: experiment {experiment}: impressions of {len(arms)} teams "
            f"({', '.join(arms[:4])}); expected two. Interleaved experiments log them."
        )
    _, users = np.unique(found["user_id"].to_numpy().astype(str), return_inverse=True)
    return TeamImpressions(
        arms=(str(arms[0]), str(arms[1])),
        users=np.asarray(users, np.int64),
        team=np.asarray(team, np.int64),
        reward=found["reward"].to_numpy(np.float64),
        requests=int(found["request_id"].nunique()),
    )
