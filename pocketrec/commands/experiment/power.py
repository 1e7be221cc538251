"""`pocketrec experiment power`: how many users and days an experiment needs."""

import dataclasses
import json
from pathlib import Path

import click

from pocketrec.commands.repository.rollout_options import JSON
from pocketrec.finite import FiniteRange


@click.command(
    epilog="Example: pocketrec experiment power --mean 0.05 --effect 0.1 --users-per-day 2000"
)
@click.option("--mean", type=FiniteRange(min=0), help="Metric of control now.")
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    help="Measure mean, spread and users a day in this export, in place of --mean.",
)
@click.option("--metric", default="conversion", show_default=True, help="Metric of --events.")
@click.option(
    "--days", type=click.IntRange(1, 366), default=28, show_default=True, help="Window of --events."
)
@click.option(
    "--sd",
    type=FiniteRange(min=0),
    help="Standard deviation between users.  [default: of a share, sqrt(mean (1 - mean))]",
)
@click.option(
    "--correlation",
    type=FiniteRange(-0.999, 0.999),
    default=0.0,
    show_default=True,
    help="Of the metric with each user's past, for CUPED.",
)
@click.option(
    "--effect",
    type=FiniteRange(-1, 10),
    required=True,
    help="Smallest relative effect to find; 0.1 is 10%.",
)
@click.option("--users-per-day", type=FiniteRange(min=0), help="New users of both arms a day.")
@click.option(
    "--share",
    type=FiniteRange(0.01, 0.99),
    default=0.5,
    show_default=True,
    help="Of the treatment among the users of both arms.",
)
@click.option("--power", "chance", type=FiniteRange(0.5, 0.999), default=0.8, show_default=True)
@click.option("--alpha", type=FiniteRange(0.0001, 0.2), default=0.05, show_default=True)
@click.option(
    "--looks",
    type=click.IntRange(1, 365),
    default=28,
    show_default=True,
    help="Looks at the data; 1: only at the end.",
)
@JSON
def power(
    mean: float | None,
    events: Path | None,
    metric: str,
    days: int,
    sd: float | None,
    correlation: float,
    effect: float,
    users_per_day: float | None,
    share: float,
    chance: float,
    alpha: float,
    looks: int,
    as_json: bool,
) -> None:
    """Print the users and days that an experiment needs, before it starts."""
    from pocketrec_experiments.statistics import plan

    if (mean is None) == (events is None):
        raise click.UsageError("Give one of --mean and --events.")
    if events is not None:
        from pocketrec_experiments.analysis import Settings
        from pocketrec_experiments.analysis.baseline import baseline

        now = baseline(events, Settings(metric=metric), days=days)
        mean, variance = now.mean, now.variance
        users_per_day = users_per_day or now.users_per_day
    else:
        assert mean is not None
        if sd is None and not mean < 1:
            raise click.UsageError("Give --sd: a mean of 1 or more is not a share.")
        variance = (mean * (1 - mean) if sd is None else sd * sd) * (1 - correlation**2)
    found = plan(
        mean=mean,
        variance=variance,
        relative=effect,
        users_per_day=users_per_day,
        share=share,
        power=chance,
        alpha=alpha,
        looks=looks,
    )
    if as_json:
        measured = {} if events is None else {"baseline": dataclasses.asdict(now)}
        click.echo(json.dumps(dataclasses.asdict(found) | measured))
        return
    if events is not None:
        click.echo(
            f"{metric} in {days} days: mean {mean:.4g}, standard deviation {variance**0.5:.4g}"
            f"{' after CUPED' if now.cuped else ''}, {now.users:,} users."
        )
    click.echo(
        f"{found.users:,} users in both arms find a change of {effect:+.1%} with {chance:.0%}."
    )
    if looks > 1:
        more = found.inflation - 1
        click.echo(f"{looks} looks need {more:.1%} more users than one look at the end.")
    if found.days is not None:
        click.echo(f"{found.days} days; run whole weeks: {found.weeks_days} days.")
