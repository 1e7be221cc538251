"""`pocketrec experiment advance`: enrol more devices if the present stage is healthy."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.experiment.changes import ID
from pocketrec.commands.repository.advance_options import Ramp, ramp_options
from pocketrec.commands.repository.keys_options import note_of
from pocketrec.commands.repository.rollout_options import signers_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pocketrec_server.halting.waiting import Verdict, Wait


@click.command(
    epilog="Example: pocketrec experiment advance blend --steps 10,50,100 --repo work/repo"
    " --keys work/keys"
)
@ID
@ramp_options
def advance(
    experiment: str,
    ramp: Ramp,
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
    from pocketrec_server.halting.waiting import of_experiment

    note, signers = note_of(by, reason), signers_of(repo, keys)
    one, now = find(signing.read_experiments(repo, channel), experiment), time.time()

    def judge(engine: "Engine", wait: "Wait") -> "Verdict":
        return of_experiment(repo, engine, channel, one, wait, now)

    step = ramp.next_stage(experiment, one.percent_at(now), repo, judge)
    if step is not None:
        signing.ramp(repo, signers, channel, experiment, step, note=note)
    table.say(repo, channel, as_json, ramp.database)
