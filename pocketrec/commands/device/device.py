"""`pocketrec device`: be the phone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketrec import facts
from pocketrec.commands.device.arm import arm
from pocketrec.commands.device.browse import browse
from pocketrec.commands.device.explain import explain
from pocketrec.commands.device.filters import checked, filter_options
from pocketrec.commands.device.interests import interests
from pocketrec.commands.device.options import (
    ENGINE,
    HOME,
    JSON,
    MAYBE_HOME,
    NEW_HOME,
    OFFLINE,
    require_phone,
    say_faults,
)
from pocketrec.commands.device.privacy import consent, erase, export_data
from pocketrec.commands.device.simulate import simulate
from pocketrec.commands.device.sync import command as sync
from pocketrec.commands.device.watch import watch
from pocketrec.finite import FiniteRange
from pocketrec_edge.recommend.surfaces import HOME as HOME_SCREEN
from pocketrec_edge.recommend.surfaces import SURFACES

if TYPE_CHECKING:
    from pocketrec_edge.recommend.filters import Filters


@click.group(epilog="Example: pocketrec device recommend --home work/phone --offline")
def command() -> None:
    """Be the phone: sync, then recommend with no network."""


@command.command(epilog="Example: pocketrec device recommend --home work/phone -k 10 --offline")
@MAYBE_HOME
@ENGINE
@OFFLINE
@JSON
@click.option("-k", type=click.IntRange(1, 1000), help="Items wanted; default: the release's.")
@click.option(
    "--again/--new-only",
    default=None,
    help="Show what was had before too, or never; default: the release's policy.",
)
@filter_options
@click.option("--bundle", type=click.Path(path_type=Path), help="Use this bundle folder.")
@click.option("--page", type=click.IntRange(1), help="A page of a list that never repeats an item.")
@click.option("--session", help="The list's token, as page 1 gave it; without it a new list.")
@click.option(
    "--scene",
    type=click.Choice(SURFACES),
    default=HOME_SCREEN,
    show_default=True,
    help="Where the list stands; similar and after need --item, search needs --result.",
)
@click.option("--item", "item_id", help="Id of the item at hand.")
@click.option("--result", "results", multiple=True, help="Id found by the app's search; repeat.")
@click.option("--deadline-ms", type=FiniteRange(min=0), help="Skip the ranker beyond it.")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of each model."
)
def recommend(
    home: Path,
    engine: str,
    as_json: bool,
    k: int | None,
    again: bool | None,
    filters: "Filters | None",
    bundle: Path | None,
    page: int | None,
    session: str | None,
    scene: str,
    item_id: str | None,
    results: tuple[str, ...],
    deadline_ms: float | None,
    threads: int,
) -> None:
    """Print the phone's slate, with ids, reasons and stage timings.

    With --bundle a phone that is not there is founded, to log what is shown.
    """
    from pocketrec_edge.device import Device

    require_phone(home, bundle)
    device = Device(home, engine=engine, bundle=bundle, threads=threads)
    answer = device.recommend(
        k,
        exclude_seen=None if again is None else not again,
        filters=checked(filters, device.bundle),
        page=page,
        session=session,
        scene=scene,
        item_id=item_id,
        results=results,
        deadline_ms=deadline_ms,
    )
    device.close()
    if as_json:
        click.echo(json.dumps(answer.plain()))
        return
    width = max((len(item.item_id) for item in answer.items), default=0)
    for place, item in enumerate(answer.items, 1):
        told = f"[{item.sponsored.label}]" if item.sponsored else f"({item.reason})"
        title = f"{item.title}  " if item.title != item.item_id else ""
        click.echo(f"{place:>3}  {item.score:.3f}  {item.item_id:<{width}}  {title}{told}")
    stages = "  ".join(f"{name} {ms:.2f}" for name, ms in answer.stage_ms.items())
    click.echo(f"{answer.source}, ms: {stages}", err=True)
    if answer.session is not None:
        click.echo(f"page {answer.page} of session {answer.session}", err=True)
    if answer.request is not None:
        click.echo(f"request {answer.request}", err=True)
    say_faults(answer.faults)


@command.command(epilog="Example: pocketrec device feedback --home work/phone 50 --event like")
@HOME
@OFFLINE
@JSON
@click.argument("item_id")
@click.option("--event", default="like", help="Event type of the recipe.", show_default=True)
@click.option("--value", type=float, help="A number that goes with it, such as a rating.")
@click.option("--request", help="Request of the slate that led to it, from `recommend`.")
@click.option("--place", type=int, help="Place in that slate, if not the logged one.")
@click.option("--currency", help="Currency of an amount (ISO 4217), such as GBP.")
def feedback(
    home: Path,
    as_json: bool,
    item_id: str,
    event: str,
    value: float | None,
    request: str | None,
    place: int | None,
    currency: str | None,
) -> None:
    """Log what the user did with ITEM_ID."""
    from pocketrec_edge.device import Device

    device = Device(home)
    made = device.feedback(item_id, event, value, request=request, place=place, currency=currency)
    device.close()
    click.echo(json.dumps({"id": made}) if as_json else f"logged {event} of {item_id}")


@command.command(epilog="Example: pocketrec device status --home work/phone")
@HOME
@ENGINE
@OFFLINE
@JSON
def status(home: Path, engine: str, as_json: bool) -> None:
    """Print what is installed, logged and wrong."""
    _show(home, engine, as_json, lambda device: device.status().plain())


@command.command(epilog="Example: pocketrec device install --home work/phone work/bundle")
@NEW_HOME
@ENGINE
@OFFLINE
@JSON
@click.argument("bundle", type=click.Path(path_type=Path))
def install(home: Path, engine: str, as_json: bool, bundle: Path) -> None:
    """Install a bundle folder without a server; its golden vectors must pass."""
    require_phone(home, bundle)
    _show(home, engine, as_json, lambda device: {"installed": device.install(bundle), "faults": []})


def _show(home: Path, engine: str, as_json: bool, ask: Callable[[Any], dict[str, Any]]) -> None:
    from pocketrec_edge.device import Device

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
for each in (watch, explain, browse, simulate, arm, interests, consent, export_data, erase):
    command.add_command(each)
