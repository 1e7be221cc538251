"""`pocketrec device sync`: fetch the newest release, send events if the user has agreed."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.device.options import (
    JSON,
    MAX_RATE,
    options_of_a_sync,
    require_phone,
)
from pocketrec_bundle.encoding.strict_json import MAX_UTC

if TYPE_CHECKING:
    from pocketrec_edge.sync.client import SyncReport


@click.command(
    epilog="Example: pocketrec device sync --home work/phone --server http://127.0.0.1:8080"
    " --root work/repo/metadata/1.root.json"
)
@options_of_a_sync
@click.option("--now", type=click.IntRange(0, MAX_UTC), help="Unix seconds; default: the clock.")
@click.option("--anyway", is_flag=True, help="Sync whatever network, power and hour are.")
@MAX_RATE
@JSON
def command(
    home: Path,
    server: str,
    channel: str,
    root: Path | None,
    consent: bool,
    engine: str,
    max_rate: int | None,
    app_version: str | None,
    device_class: str | None,
    metered: bool,
    on_battery: bool,
    now: int | None,
    anyway: bool,
    as_json: bool,
) -> None:
    """Bring the phone up to date; what it had stays active until the new release is proved.

    Which release it takes, and when it may sync, is in the channel's signed policy, see
    `pocketrec rollout`. The first sync needs --root and founds the phone. Events go up only if the
    user has agreed, see `pocketrec device consent`.
    """
    from pocketrec_edge.releases.selftest import replay
    from pocketrec_edge.sync.client import sync
    from pocketrec_edge.sync.conditions import Conditions
    from pocketrec_edge.sync.http import Pace

    if root is None:
        require_phone(home)
    at = time.time() if now is None else float(now)
    here = Conditions.local(at, metered=metered, on_battery=on_battery)
    report = sync(
        home,
        server,
        lambda bundle: replay(bundle, engine),
        channel=channel,
        root_path=root,
        consent=consent,
        pace=Pace(most=max_rate),
        app_version=app_version,
        device_class=device_class,
        conditions=None if anyway else here,
        engine=engine,
        clock=lambda: at,
    )
    say_report(report, as_json=as_json)


def say_report(report: "SyncReport", *, as_json: bool) -> None:
    """Tell what a sync did."""
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    release = (report.to_release or "none")[:12]
    click.echo(
        f"{report.status}: release {release}, {report.bytes_down:,} bytes down in "
        f"{report.requests} requests, {report.files_fetched} files "
        f"({report.files_by_delta} by delta), {report.events_sent} events up, "
        f"{report.seconds:.2f} s"
    )
    click.echo(f"why: {report.why}", err=True)
    if report.update_app:
        click.echo(f"update the app: {report.update_app}", err=True)
    if report.events_rejected:
        click.echo(
            f"{report.events_rejected} events were rejected; `device status` has the reasons",
            err=True,
        )
    for fault in (report.experiments_fault, report.events_fault):
        if fault:
            click.echo(f"fault: {fault}", err=True)
