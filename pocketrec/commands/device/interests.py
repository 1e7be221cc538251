"""`pocketrec device interests`: what a new user chooses."""

import json
from pathlib import Path

import click

from pocketrec.commands.device.options import HOME, JSON, OFFLINE, say_faults
from pocketrec_bundle.errors import InputError


@click.command(epilog="Example: pocketrec device interests --home work/phone Drama Comedy")
@HOME
@OFFLINE
@JSON
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--clear", is_flag=True, help="Nothing is chosen any more.")
def interests(home: Path, as_json: bool, names: tuple[str, ...], clear: bool) -> None:
    """Store the categories that the user chose; they replace earlier ones.

    Without NAME or --clear, show what is chosen and what the release offers. It stays on the phone.
    """
    from pocketrec_edge.device import Device

    if clear and names:
        raise InputError("--clear chooses nothing: leave the names out.")
    device = Device(home)
    try:
        if clear or names:
            device.set_interests(names)
        answer = device.interests()
    finally:
        device.close()
    if as_json:
        click.echo(json.dumps(answer.plain()))
        return
    click.echo("chosen: " + (", ".join(answer.chosen) or "nothing"))
    click.echo("offered: " + (", ".join(answer.offered) or "nothing"))
    say_faults(answer.faults)
