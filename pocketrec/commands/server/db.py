"""`pocketrec db`: upgrade the tables of the server's database."""

import json
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, connected


@click.group(epilog="Example: pocketrec db status --repo work/repo")
def command() -> None:
    """Upgrade the server's database, or show whether it needs an upgrade."""


@command.command(epilog="Example: pocketrec db upgrade --db postgresql://rec@db.internal/rec")
@REPO
@DATABASE
@JSON
def upgrade(repo: Path | None, database: str, as_json: bool) -> None:
    """Upgrade the tables to this version, in one transaction. Stop the servers first.

    This is for PostgreSQL: a server upgrades a SQLite file when it opens it. Back up first.
    """
    from pocketrec_server.storage import database as databases

    with connected(repo, database) as engine:
        done = databases.upgrade(engine)
    if as_json:
        click.echo(json.dumps({"applied": done}))
        return
    click.echo(f"applied {', '.join(done)}" if done else "nothing to do")


@command.command(epilog="Example: pocketrec db status --repo work/repo --json")
@REPO
@DATABASE
@JSON
def status(repo: Path | None, database: str, as_json: bool) -> None:
    """Show the pending migrations without changing the database."""
    from pocketrec_server.storage import database as databases

    with connected(repo, database) as engine:
        missing = databases.pending(engine)
    if as_json:
        click.echo(json.dumps({"dialect": engine.dialect.name, "pending": missing}))
        return
    click.echo(f"pending: {', '.join(missing)}" if missing else "up to date")
