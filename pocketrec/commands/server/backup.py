"""`pocketrec backup`: save a server's repository and database in one file."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.repository.keys_options import REPO
from pocketrec.commands.server.database_options import DATABASE, JSON, connected


@click.command(
    epilog="Example: pocketrec backup --repo work/repo --out backup.tar --key backup-key/backup.pem"
)
@REPO
@DATABASE
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="Private key that signs the backup: backup.pem of `keys backup-key`.",
)
@click.option("--force", is_flag=True, help="Replace the file.")
@JSON
def command(repo: Path, database: str, out: Path, key: Path, force: bool, as_json: bool) -> None:
    """Write a signed backup of metadata, files and database while the server runs.

    The backup holds no keys. A PostgreSQL database is not included: save it with pg_dump.
    """
    from pocketrec_server.copies.backup import back_up

    with connected(repo, database) as engine:
        report = back_up(repo, engine, out, key, ask=passphrase.asked, force=force)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{out}: {report.files} files, {report.bytes:,} bytes")
    if not report.database:
        click.echo("the database is not included: save it with pg_dump", err=True)
