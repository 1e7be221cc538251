"""`pocketrec db`: the layout of the server's database."""

import json
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, connected


@click.group(epilog="Example: pocketrec db status --repo work/repo")
def command() -> None:
    """Upgrade the server's database, or see whether it needs it."""


@command.command(epilog="Example: pocketrec db upgrade --db postgresql://rec@db.internal/rec")
@REPO
@DATABASE
@JSON
def upgrade(repo: Path | None, database: str, as_json: bool) -> None:
    """Bring the tables to this version, in one transaction; stop the servers that use it before.

    A SQLite file is upgraded when a server opens it, so this is for PostgreSQL. Save it first.
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
    """Say which steps to this version's tables are missing; changes nothing."""
    from pocketrec_server.storage import database as databases

    with connected(repo, database) as engine:
        missing = databases.pending(engine)
    if as_json:
        click.echo(json.dumps({"dialect": engine.dialect.name, "pending": missing}))
        return
    click.echo(f"pending: {', '.join(missing)}" if missing else "up to date")
