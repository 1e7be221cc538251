"""`pocketrec device sync`: fetch the newest release, send events if the user has agreed."""

import json
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
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    home: Path,
    server: str,
    channel: str,
    root: Path | None,
    consent: bool,
    engine: str,
    as_json: bool,
) -> None:
    """Bring the phone up to date; what it had stays active until the new release is proved.

    Events go up only if the user has agreed, see `pocketrec device consent`.
    """
    from edge_runtime.selftest import replay
    from edge_runtime.sync import sync

    report = sync(
        home,
        server,
        lambda bundle: replay(bundle, engine),
        channel=channel,
        root_path=root,
        consent=consent,
    )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.status}: release {report.to_release[:12]}, {report.bytes_down:,} bytes down in "
        f"{report.requests} requests, {report.files_fetched} files "
        f"({report.files_by_delta} by delta), {report.events_sent} events up, "
        f"{report.seconds:.2f} s"
    )
    if report.events_rejected:
        click.echo(
            f"{report.events_rejected} events were rejected; `device status` has the reasons",
            err=True,
        )
    if report.events_fault:
        click.echo(f"fault: {report.events_fault}", err=True)
