"""`pocketrec experiment report`: compare the arms of an experiment on exported events."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pocketrec.commands.experiment.publish_results import publish_results
from pocketrec.commands.experiment.signed_options import (
    EXPERIMENTS,
    SIGNED_IN,
    UNTIL,
    interleaves,
    signed_experiments,
)
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON
from pocketrec.commands.server.database_options import DATABASE, opened
from pocketrec.finite import FiniteRange

if TYPE_CHECKING:
    from pocketrec_bundle.settings.halted_arms import HaltedArms
    from pocketrec_experiments.analysis import Settings


@click.command(
    epilog="Example: pocketrec experiment report blend --events work/events --repo work/repo"
)
@click.argument("experiment", metavar="ID")
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    help="Folder of `pocketrec events export`.",
)
@click.option(
    "--sums",
    type=click.Path(path_type=Path),
    help="File or folder of `pocketrec events export-sums`, in place of --events.",
)
@EXPERIMENTS
@SIGNED_IN
@CHANNEL
@UNTIL
@click.option(
    "--metric",
    default="conversion",
    show_default=True,
    help="Decides: conversion, ctr, revenue, ...",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="Events whose value is an amount in this recipe are the conversions.",
)
@click.option(
    "--conversion",
    "conversions",
    multiple=True,
    metavar="EVENT",
    help="Event that is a conversion; its value is revenue; repeatable.  [default: as signed]",
)
@click.option(
    "--click",
    "clicks",
    multiple=True,
    metavar="EVENT",
    help="Event that is a click on an impression; repeatable.  [default: all]",
)
@click.option(
    "--winsorise",
    type=FiniteRange(0.5, 1),
    default=0.99,
    show_default=True,
    help="Quantile of the buyers above which a user's revenue is cut.",
)
@click.option("--alpha", type=FiniteRange(0.0001, 0.5), default=0.05, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write the report as an HTML page.")
@click.option(
    "--publish", is_flag=True, help="Show a summary on the admin site, by the server's database."
)
@DATABASE
@JSON
def report(
    experiment: str,
    events: Path | None,
    sums: Path | None,
    file: Path | None,
    repo: Path | None,
    channel: str,
    until: int | None,
    metric: str,
    recipe: Path | None,
    conversions: tuple[str, ...],
    clicks: tuple[str, ...],
    winsorise: float,
    alpha: float,
    out: Path | None,
    publish: bool,
    database: str,
    as_json: bool,
) -> None:
    """Compare the arms of the experiment ID on exported events or sums, the verdict first.

    Look as often as you like: the verdict uses group-sequential bounds. It is made by intention to
    treat; users with a forced arm and bots are left out. With --sums, devices and server have fixed
    what a click and a conversion are, and where revenue is cut.
    """
    if (events is None) == (sums is None):
        raise click.UsageError("Give one of --events and --sums.")
    if sums is not None:
        _refuse_rules_of_events()
    if database and not publish:
        raise click.UsageError("--database is for --publish.")
    if publish and repo is None and not database:
        raise click.UsageError("--publish needs --repo or --database.")
    from pocketrec_bundle.errors import InputError
    from pocketrec_experiments.analysis import Design, Settings, experiment_report, sums_report

    signed = signed_experiments(file, repo, channel)
    design = Design.of(signed, experiment, until, _halts(repo, channel))
    if interleaves(signed, experiment):
        raise InputError(
            f"experiment {experiment}: interleaves its arms, so no device is in one of them. Use "
            "`pocketrec experiment interleaving`."
        )
    settings = Settings(
        metric=metric,
        winsorise=winsorise,
        alpha=alpha,
        clicks=clicks,
        conversions=signed.conversions,
    )
    if recipe is not None:
        settings = _with_amounts(settings, recipe)
    if conversions:
        settings = dataclasses.replace(settings, conversions=conversions)
    if events is not None:
        found = experiment_report(design=design, events=events, settings=settings)
    else:
        assert sums is not None
        found = sums_report(design=design, sums=sums, settings=settings)
    if out is not None:
        from pocketrec_bundle.disk.files import write_atomic
        from pocketrec_experiments.analysis.page import render

        write_atomic(out, render(found).encode())
    if publish:
        with opened(repo, database) as engine:
            publish_results(engine, channel, found, int(time.time()))
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    from pocketrec_experiments.analysis.terminal import show

    show(found, width=None if sys.stdout.isatty() else 100)
    if out is not None:
        click.echo(f"written: {out}")


def _halts(repo: Path | None, channel: str) -> "HaltedArms | None":
    """Return the halted arms of a channel; None without a repository."""
    if repo is None:
        return None
    from pocketrec_server.experiments.halted_arms import read_halted_arms

    return read_halted_arms(repo, channel)


def _refuse_rules_of_events() -> None:
    """Refuse options that say how events are counted; sums are counted already."""
    context = click.get_current_context()
    for name, option in (
        ("recipe", "--recipe"),
        ("conversions", "--conversion"),
        ("clicks", "--click"),
        ("winsorise", "--winsorise"),
        ("until", "--until"),
    ):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} needs --events: sums are counted already.")


def _with_amounts(settings: "Settings", path: Path) -> "Settings":
    """Take conversions and their currency from `[events.NAME]` of a recipe."""
    from pocketrec_bundle.errors import InputError
    from pocketrec_training.recipe.load import load_recipe

    values = load_recipe(path).events.values
    amounts = {name: each.currency for name, each in values.items() if each.value == "amount"}
    if not amounts:
        raise InputError(
            f'{path}: no event type has `value = "amount"`. Add [events.NAME] with it, or name the'
            " conversions with --conversion."
        )
    currencies = {currency for currency in amounts.values() if currency}
    return dataclasses.replace(
        settings,
        conversions=tuple(amounts),
        currency=currencies.pop() if len(currencies) == 1 else None,
    )
