"""`pocketrec events`: export, count and erase the events of devices."""

import json
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, opened
from pocketrec.finite import FiniteRange
from pocketrec_bundle.errors import InputError

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group(epilog="Example: pocketrec events stats --repo work/repo")
def command() -> None:
    """Export the events of devices for training, count them, or erase those of one device."""


@command.command(epilog="Example: pocketrec events export --repo work/repo --out work/events")
@REPO
@DATABASE
@JSON
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to update.")
@click.option("--from", "first", type=_DAY, help="First day (UTC), such as 2026-05-01.")
@click.option("--to", "last", type=_DAY, help="Last day (UTC), inclusive.")
@click.option("--raw-ids", is_flag=True, help="Export install ids unhashed.")
def export(
    repo: Path | None,
    database: str,
    as_json: bool,
    out: Path,
    first: datetime | None,
    last: datetime | None,
    raw_ids: bool,
) -> None:
    """Write Parquet files by kind and day. Days without changes are skipped.

    The folders are interactions, impressions, requests and exposures; docs/server/events.md has
    their columns.

    A recipe can use the folder OUT/interactions as `data.interactions`.
    """
    from pocketrec_server.events.export import export_events

    with opened(repo, database) as engine:
        done = export_events(engine, out, first=_day(first), last=_day(last), raw_ids=raw_ids)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.days_written} days written ({done.interactions:,} interactions, "
        f"{done.impressions:,} impressions, {done.requests:,} requests, "
        f"{done.exposures:,} exposures), {done.days_kept} unchanged"
    )


@command.command(
    "export-sums", epilog="Example: pocketrec events export-sums --repo work/repo --out work/sums"
)
@REPO
@DATABASE
@JSON
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to update.")
@click.option(
    "--k",
    type=click.IntRange(min=50),
    default=50,
    show_default=True,
    help="Devices that an arm must have to be shown.",
)
@click.option(
    "--epsilon",
    type=FiniteRange(0.001, 100),
    help="Add Laplace noise; the privacy budget of each metric and day.  [default: no noise]",
)
def export_sums(
    repo: Path | None,
    database: str,
    as_json: bool,
    out: Path,
    k: int,
    epsilon: float | None,
) -> None:
    """Write sums of experiments, one JSON file a day, for `experiment report --sums`.

    The first export of a day (UTC) fixes its figures, noise included; others repeat them. Arms with
    fewer devices than --k are not shown.
    """
    from pocketrec_server.sums.export import export_sums as export_files

    with opened(repo, database) as engine:
        done = export_files(engine, out, now=time.time(), k=k, epsilon=epsilon)
    if done.other_settings:
        click.echo(
            f"{done.other_settings} experiments keep the k and epsilon of today's first export;"
            " new ones apply tomorrow",
            err=True,
        )
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.written} files written, {done.kept} unchanged; {done.experiments} experiments, "
        f"{done.hidden} arms of fewer devices than --k"
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
        counts = event_stats(engine, int(time.time()))
    days = {day_name(day): events for day, events in counts.days.items()}
    if as_json:
        click.echo(json.dumps(asdict(counts) | {"days": days}))
        return
    span = f", {min(days)} to {max(days)}" if days else ""
    click.echo(f"{counts.events:,} events on {len(days)} days{span}")
    click.echo(
        f"{counts.installs:,} devices, {counts.active:,} in the last week, {counts.new:,} new"
    )
    for reason, events in counts.rejected.items():
        click.echo(f"{events:>10,} rejected: {reason}")


@command.command(
    epilog="Example: pocketrec events erase --repo work/repo --yes --install-id"
    " 0f8fad5bd9cb469fa16570867728950e"
)
@REPO
@DATABASE
@JSON
@click.option("--install-id", required=True, help="Id that `device export-data` and `erase` show.")
@click.option("--yes", is_flag=True, help="Confirm; this cannot be undone.")
def erase(repo: Path | None, database: str, as_json: bool, install_id: str, yes: bool) -> None:
    """Erase all events of one device. The next export omits them too."""
    from pocketrec_server.events import erasure

    if not yes:
        raise InputError(f"{install_id}: this erases its events. Add --yes to confirm.")
    with opened(repo, database) as engine:
        erased = erasure.erase(engine, install_id)
    click.echo(json.dumps({"erased": erased}) if as_json else f"erased {erased} events")


def _day(date: datetime | None) -> int | None:
    return None if date is None else (date - datetime(1970, 1, 1)).days
