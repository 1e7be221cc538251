"""`pocketrec restore`: bring a backup back."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.database_options import JSON


@click.command(epilog="Example: pocketrec restore backup.tar --repo work/repo-2")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="Where it goes.")
@click.option("--force", is_flag=True, help="Replace the repository that is there.")
@JSON
def command(file: Path, repo: Path, force: bool, as_json: bool) -> None:
    """Check FILE whole, then put its repository and database at --repo; stop the server before.

    Phones that saw newer metadata refuse older one: see the operator's guide.
    """
    from sync_server.restore import restore

    report = restore(file, repo, force=force)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{repo}: {report.files} files, {report.bytes:,} bytes")
