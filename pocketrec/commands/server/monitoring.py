"""`pocketrec monitoring`: write the Grafana dashboard and the Prometheus alerts of a server."""

import json
from pathlib import Path

import click

from pocketrec.commands.server.database_options import JSON


@click.command(epilog="Example: pocketrec monitoring --out work/monitoring --force")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the files.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@JSON
def command(out: Path, force: bool, as_json: bool) -> None:
    """Write a Grafana dashboard, Prometheus alert rules and an example of Prometheus' settings.

    The files use the metrics at /metrics of `pocketrec serve`. docs/server/runbook.md has a section
    for each alert.
    """
    from pocketrec_server.monitoring.files import write_files

    paths = write_files(out, force=force)
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in paths]}))
        return
    for path in paths:
        click.echo(path)
