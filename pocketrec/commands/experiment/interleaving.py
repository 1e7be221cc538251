"""`pocketrec experiment interleaving`: which arm users prefer in interleaved slates."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pocketrec.commands.experiment.signed_options import (
    EXPERIMENTS,
    SIGNED_IN,
    UNTIL,
    interleaves,
    signed_experiments,
)
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON
from pocketrec.finite import FiniteRange

DAY_S = 24 * 3600
ALPHA = 0.05


@click.command(
    epilog="Example: pocketrec experiment interleaving blend --events work/events --repo work/repo"
)
@click.argument("experiment", metavar="ID")
@click.option(
    "--events",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of `pocketrec events export`.",
)
@EXPERIMENTS
@SIGNED_IN
@CHANNEL
@UNTIL
@click.option(
    "--reward",
    metavar="EVENT,EVENT",
    default="",
    help="Event types that reward an impression.  [default: all]",
)
@click.option(
    "--window-days",
    type=FiniteRange(min=0, max=365, min_open=True),
    default=7,
    show_default=True,
    help="Latest time of a rewarding event after the impression.",
)
@JSON
def interleaving(
    experiment: str,
    events: Path,
    file: Path | None,
    repo: Path | None,
    channel: str,
    until: int | None,
    reward: str,
    window_days: float,
    as_json: bool,
) -> None:
    """Count the users who prefer each arm of an experiment with `interleave = true`.

    A user prefers the arm whose items earned more rewards in slates that mix both. Look once, at
    the planned end: the p-value holds for one look. Users with a forced arm, and slates of an
    earlier draw or outside the experiment's times, are left out.
    """
    from pocketrec_bundle.errors import InputError
    from pocketrec_experiments.analysis import Design
    from pocketrec_experiments.off_policy.exported import Rewards
    from pocketrec_experiments.off_policy.interleaving import preference
    from pocketrec_experiments.off_policy.teams import read_teams

    named = tuple(one.strip() for one in reward.split(",") if one.strip())
    rewards = Rewards(events=named, window_s=round(window_days * DAY_S))
    signed = signed_experiments(file, repo, channel)
    design = Design.of(signed, experiment, until)
    if not interleaves(signed, experiment):
        raise InputError(
            f"experiment {experiment}: does not interleave its arms. Use `pocketrec experiment "
            "report`."
        )
    teams = read_teams(events, design, rewards)
    found = preference(teams.users, teams.team, teams.reward)
    plain = {
        "experiment": experiment,
        "arms": list(teams.arms),
        "requests": teams.requests,
        "left_out": list(teams.left_out),
    }
    plain = _finite(plain | asdict(found))
    click.echo(json.dumps(plain) if as_json else "\n".join(_lines(plain)))


def _lines(found: dict[str, Any]) -> list[str]:
    first, second = found["arms"]
    share = found["share"]
    losses, wins = found["wins"]
    lines = [
        f"experiment {found['experiment']}: {found['requests']:,} interleaved slates, "
        f"{found['users']:,} users, {found['rewarded']:,} of them with a reward",
        f"prefer {first}: {losses:,} users, {found['rewards'][0]:,.0f} rewards",
        f"prefer {second}: {wins:,} users, {found['rewards'][1]:,.0f} rewards",
        f"ties: {found['ties']:,} users",
    ]
    if share["value"] is not None and share["low"] is not None:
        lines.append(
            f"share of users for {second}: {share['value']:.3f} "
            f"(95% interval {share['low']:.3f} to {share['high']:.3f})"
        )
    lines.append(f"sign test: p = {found['p']:.3g}")
    better = second if wins > losses else first
    verdict = f"users prefer {better}" if found["p"] < ALPHA else "no preference is shown"
    return [verdict, *lines, *found["left_out"]]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
