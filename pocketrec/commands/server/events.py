"""`pocketrec events`: what devices sent, exported for training, counted, or erased."""

import json
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, opened
from pocketrec_bundle.errors import InputError

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group(epilog="Example: pocketrec events stats --repo work/repo")
def command() -> None:
    """Export the events that devices sent, count them, or erase those of one device."""


@command.command(epilog="Example: pocketrec events export --repo work/repo --out work/events")
@REPO
@DATABASE
@JSON
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to update.")
@click.option("--from", "first", type=_DAY, help="First day (UTC), as 2026-05-01.")
@click.option("--to", "last", type=_DAY, help="Last day (UTC), itself included.")
@click.option("--raw-ids", is_flag=True, help="Write install ids as they are, not hashed.")
def export(
    repo: Path | None,
    database: str,
    as_json: bool,
    out: Path,
    first: datetime | None,
    last: datetime | None,
    raw_ids: bool,
) -> None:
    """Write Parquet files by kind and day; a day that did not change since is left alone.

    `data.interactions` of a recipe may name the folder OUT/interactions.
    """
    from pocketrec_server.events.export import export_events

    with opened(repo, database) as engine:
        done = export_events(engine, out, first=_day(first), last=_day(last), raw_ids=raw_ids)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.days_written} days written ({done.interactions:,} interactions, "
        f"{done.impressions:,} impressions), {done.days_kept} unchanged"
    )


@command.command(epilog="Example: pocketrec events stats --repo work/repo --json")
@REPO
@DATABASE
@JSON
def stats(repo: Path | None, database: str, as_json: bool) -> None:
    """Count events, devices and rejected rows."""
    from pocketrec_server.events.export import day_name
    from pocketrec_server.events.stats import event_stats

    with opened(repo, database) as engine:
        found = event_stats(engine, int(time.time()))
    days = {day_name(day): events for day, events in found.days.items()}
    if as_json:
        click.echo(json.dumps(asdict(found) | {"days": days}))
        return
    of = f", {min(days)} to {max(days)}" if days else ""
    click.echo(f"{found.events:,} events on {len(days)} days{of}")
    click.echo(f"{found.installs:,} devices, {found.active:,} in the last week, {found.new:,} new")
    for reason, events in found.rejected.items():
        click.echo(f"{events:>10,} rejected: {reason}")


@command.command(
    epilog="Example: pocketrec events erase --repo work/repo --yes --install-id"
    " 0f8fad5bd9cb469fa16570867728950e"
)
@REPO
@DATABASE
@JSON
@click.option("--install-id", required=True, help="As `device export-data` and `erase` show it.")
@click.option("--yes", is_flag=True, help="Do it; there is no way back.")
def erase(repo: Path | None, database: str, as_json: bool, install_id: str, yes: bool) -> None:
    """Erase all that one device has sent; the next export leaves it out too."""
    from pocketrec_server.events import erasure

    if not yes:
        raise InputError(f"{install_id}: this erases its events. Add --yes to do it.")
    with opened(repo, database) as engine:
        erased = erasure.erase(engine, install_id)
    click.echo(json.dumps({"erased": erased}) if as_json else f"erased {erased} events")


def _day(at: datetime | None) -> int | None:
    return None if at is None else (at - datetime(1970, 1, 1)).days
