"""`pocketrec device arm`: show and force arms of experiments."""

import json
from pathlib import Path

import click

from pocketrec import facts
from pocketrec.commands.device.options import HOME, JSON, OFFLINE, say_faults


@click.command(epilog="Example: pocketrec device arm --home work/phone blend variety")
@HOME
@OFFLINE
@JSON
@click.argument("experiment", required=False, metavar="[ID]")
@click.argument("arm", required=False, metavar="[ARM]")
@click.option("--clear", is_flag=True, help="Return to the arm that the phone drew.")
def arm(home: Path, as_json: bool, experiment: str | None, arm: str | None, clear: bool) -> None:
    """Put the phone into ARM of the experiment ID, for testing.

    Without ARM, print the phone's arms. What a phone with a forced arm logs is marked, and left out
    of every analysis. A release of the arm comes with the next sync.
    """
    from pocketrec_edge.device import Device

    if (arm is None) != (clear or experiment is None):
        raise click.UsageError("Give ID and ARM, ID and --clear, or neither.")
    if clear and experiment is None:
        raise click.UsageError("--clear needs the ID of an experiment.")
    with Device(home) as device:
        if experiment is not None:
            device.force_arm(experiment, arm)
        status = device.status()
    answer = {"arms": status.arms, "forced": list(status.forced)}
    if as_json:
        click.echo(json.dumps(answer))
        return
    for line in facts.lines(answer):
        click.echo(line)
    say_faults(status.faults)
