"""`pocketrec device sync`: fetch the newest release, send events if the user has agreed."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click


@click.command(
    epilog="Example: pocketrec device sync --home work/phone --server http://127.0.0.1:8080"
    " --root work/repo/metadata/1.root.json"
)
@click.option("--home", type=click.Path(path_type=Path), required=True, help="The phone's folder.")
@click.option("--server", required=True, help="Address of the sync server.")
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option("--root", type=click.Path(path_type=Path), help="Trusted root, for the first sync.")
@click.option(
    "--consent",
    is_flag=True,
    help="The user agrees that events are sent, now and later: as `device consent --grant`.",
)
@click.option(
    "--engine", type=click.Choice(["auto", "litert", "onnx"]), default="auto", help="Runtime."
)
@click.option("--app-version", help="Of the app; a release may be for some versions only.")
@click.option("--device-class", help="Of the phone; a release may be for some classes only.")
@click.option("--metered", is_flag=True, help="The network costs by volume.")
@click.option("--on-battery", is_flag=True, help="The phone is not charging.")
@click.option("--now", type=click.IntRange(min=0), help="Unix seconds; default: the clock.")
@click.option("--anyway", is_flag=True, help="Sync whatever network, power and hour are.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    home: Path,
    server: str,
    channel: str,
    root: Path | None,
    consent: bool,
    engine: str,
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
    `pocketrec rollout`. Events go up only if the user has agreed, see `pocketrec device consent`.
    """
    from edge_runtime.conditions import Conditions
    from edge_runtime.selftest import replay
    from edge_runtime.sync import sync

    at = time.time() if now is None else float(now)
    here = Conditions.local(at, metered=metered, on_battery=on_battery)
    report = sync(
        home,
        server,
        lambda bundle: replay(bundle, engine),
        channel=channel,
        root_path=root,
        consent=consent,
        app_version=app_version,
        device_class=device_class,
        conditions=None if anyway else here,
        clock=lambda: at,
    )
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
    if report.events_fault:
        click.echo(f"fault: no events were sent: {report.events_fault}", err=True)
