"""`pocketrec experiment advance`: enrol more devices if the present stage is healthy."""

import time
from pathlib import Path

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.experiment.changes import ID
from pocketrec.commands.repository.advance_options import (
    DATABASE,
    DAYS,
    NETWORKS,
    STEPS,
    may_go_on,
    reports,
)
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON, signers_of


@click.command(
    epilog="Example: pocketrec experiment advance blend --steps 10,50,100 --repo work/repo"
    " --keys work/keys"
)
@ID
@STEPS
@NETWORKS
@DAYS
@DATABASE
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def advance(
    experiment: str,
    steps: tuple[float, ...],
    networks: int,
    days: float,
    database: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Enrol the next of --steps in the experiment ID if the present stage is healthy.

    Run it from cron. It waits for enough networks and a look at each guardrail; exit code 3 means
    that an arm is halted or beyond a limit.
    """
    from pocketrec_server.experiments import signing
    from pocketrec_server.experiments.changes import find
    from pocketrec_server.experiments.halted_arms import read_halted_arms
    from pocketrec_server.halting import waiting
    from pocketrec_server.halting.guard import subject_of
    from pocketrec_server.halting.looks import of_last_day

    note, signers = note_of(by, reason), signers_of(repo, keys)
    one, now = find(signing.read_experiments(repo, channel), experiment), time.time()
    step = waiting.next_step(steps, one.percent_at(now))
    if step is None:
        click.echo(f"{experiment}: is at its last stage", err=True)
    else:
        with reports(repo, database) as engine:
            verdict = waiting.of_experiment(
                one,
                read_halted_arms(repo, channel),
                of_last_day(engine, subject_of(channel, one))[1],
                waiting.Wait(networks=networks, days=days),
                waiting.experiment_since(repo, channel, one),
                now,
            )
        if may_go_on(experiment, verdict):
            signing.ramp(repo, signers, channel, experiment, step, note=note)
    table.say(repo, channel, as_json, database)
