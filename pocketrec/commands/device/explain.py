"""`pocketrec device explain`: why these items, or why not that one."""

import json
from pathlib import Path

import click

from pocketrec.commands.device.options import (
    ENGINE,
    JSON,
    MAYBE_HOME,
    OFFLINE,
    require_phone,
    say_faults,
)


@click.command(epilog="Example: pocketrec device explain --home work/phone 50 --offline")
@MAYBE_HOME
@ENGINE
@OFFLINE
@JSON
@click.argument("item_id", required=False)
@click.option("-k", type=click.IntRange(1, 1000), help="Items wanted; default: the release's.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Use this bundle folder.")
def explain(
    home: Path, engine: str, as_json: bool, item_id: str | None, k: int | None, bundle: Path | None
) -> None:
    """Explain the slate stage by stage, or ITEM_ID, in the slate or not.

    The gain from an event of the history is the item's score less its score without the event: the
    models run once for each event. Nothing is logged.
    """
    from pocketrec.explanation import lines
    from pocketrec_edge.device import Device

    require_phone(home, bundle)
    device = Device(home, engine=engine, bundle=bundle)
    answer = device.explain(item_id, k)
    device.close()
    if as_json:
        click.echo(json.dumps(answer.plain()))
        return
    for item in answer.items:
        for line in lines(item, answer.candidates):
            click.echo(line)
    click.echo(f"{answer.source}, {answer.history} events", err=True)
    say_faults(answer.faults)
