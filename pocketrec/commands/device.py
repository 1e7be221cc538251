"""`pocketrec device`: be the phone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pocketrec import facts
from pocketrec.commands.device_browse import browse
from pocketrec.commands.device_explain import explain
from pocketrec.commands.device_interests import interests
from pocketrec.commands.device_options import ENGINE, HOME, JSON, OFFLINE, say_faults
from pocketrec.commands.device_privacy import consent, erase, export_data
from pocketrec.commands.device_simulate import simulate
from pocketrec.commands.device_sync import command as sync


@click.group(epilog="Example: pocketrec device recommend --home work/phone --offline")
def command() -> None:
    """Be the phone: sync, then recommend with no network."""


@command.command(epilog="Example: pocketrec device recommend --home work/phone -k 10 --offline")
@HOME
@ENGINE
@OFFLINE
@JSON
@click.option("-k", type=click.IntRange(1, 1000), help="Items wanted; default: the release's.")
@click.option(
    "--again/--new-only",
    default=None,
    help="Show what was had before too, or never; default: the release's policy.",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Use this bundle folder.")
@click.option("--page", type=click.IntRange(1), help="A page of a list that never repeats an item.")
@click.option("--session", help="The list's token, as page 1 gave it; without it a new list.")
def recommend(
    home: Path,
    engine: str,
    as_json: bool,
    k: int | None,
    again: bool | None,
    bundle: Path | None,
    page: int | None,
    session: str | None,
) -> None:
    """Print the phone's slate, with reasons and stage timings."""
    from edge_runtime.device import Device

    device = Device(home, engine=engine, bundle_dir=bundle)
    new_only = None if again is None else not again
    answer = device.recommend(k, exclude_seen=new_only, page=page, session=session)
    device.close()
    if as_json:
        click.echo(json.dumps(answer))
        return
    for place, item in enumerate(answer["items"], 1):
        click.echo(f"{place:>3}  {item['score']:.3f}  {item['title']}  ({item['reason']})")
    stages = "  ".join(f"{name} {ms:.2f}" for name, ms in answer["stage_ms"].items())
    click.echo(f"{answer['source']}, ms: {stages}", err=True)
    if "session" in answer:
        click.echo(f"page {answer['page']} of session {answer['session']}", err=True)
    say_faults(answer["faults"])


@command.command(epilog="Example: pocketrec device feedback --home work/phone 50 --event like")
@HOME
@OFFLINE
@JSON
@click.argument("item_id")
@click.option("--event", default="like", help="Event type of the recipe.", show_default=True)
@click.option("--value", type=float, help="A number that goes with it, such as a rating.")
def feedback(home: Path, as_json: bool, item_id: str, event: str, value: float | None) -> None:
    """Log what the user did with ITEM_ID."""
    from edge_runtime.device import Device

    device = Device(home)
    made = device.feedback(item_id, event, value)
    device.close()
    click.echo(json.dumps({"id": made}) if as_json else f"logged {event} of {item_id}")


@command.command(epilog="Example: pocketrec device status --home work/phone")
@HOME
@ENGINE
@OFFLINE
@JSON
def status(home: Path, engine: str, as_json: bool) -> None:
    """Print what is installed, logged and wrong."""
    _show(home, engine, as_json, lambda device: device.status())


@command.command(epilog="Example: pocketrec device install --home work/phone work/bundle")
@HOME
@ENGINE
@OFFLINE
@JSON
@click.argument("bundle", type=click.Path(path_type=Path))
def install(home: Path, engine: str, as_json: bool, bundle: Path) -> None:
    """Install a bundle folder without a server; its golden vectors must pass."""
    _show(home, engine, as_json, lambda device: {"installed": device.install(bundle), "faults": []})


def _show(home: Path, engine: str, as_json: bool, ask: Callable[[Any], dict[str, Any]]) -> None:
    from edge_runtime.device import Device

    device = Device(home, engine=engine)
    answer = ask(device)
    device.close()
    if as_json:
        click.echo(json.dumps(answer))
        return
    for line in facts.lines(answer):
        click.echo(line)
    say_faults(answer["faults"])


command.add_command(sync, "sync")
for each in (explain, browse, simulate, interests, consent, export_data, erase):
    command.add_command(each)
