"""`pocketrec admin`: who may operate a server, and what they did."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, opened


@click.group(epilog="Example: pocketrec admin token list --repo work/repo")
def command() -> None:
    """Say who may operate a server, and see what was done."""


@command.group(epilog="Example: pocketrec admin token make --repo work/repo --name alice")
def token() -> None:
    """Make, list and revoke the tokens of people who operate a server."""


@token.command(
    epilog="Example: pocketrec admin token make --repo work/repo --name alice --scope operate"
)
@REPO
@DATABASE
@click.option("--name", required=True, help="Whose it is; the audit log shows it.")
@click.option(
    "--scope",
    type=click.Choice(["read", "operate"]),
    default="read",
    show_default=True,
    help="See the fleet, or also change what it gets.",
)
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="Lasts.")
@JSON
def make(repo: Path | None, database: str, name: str, scope: str, days: int, as_json: bool) -> None:
    """Make a token and print it, once: the server keeps only its SHA-256."""
    from pocketrec_server.auth import audit, tokens

    with (
        opened(repo, database, make=True) as engine,  # before the server's first start, too
        audit.noted(engine, None, "token make", name, scope=scope, days=days),
    ):
        text, made = tokens.make(engine, name, scope, days, int(time.time()))
    if as_json:
        click.echo(json.dumps({"token": text, **asdict(made)}))
        return
    click.echo(text)
    click.echo(f"{made.name} may {made.scope} until {_day(made.expires_utc)}", err=True)


@token.command("list", epilog="Example: pocketrec admin token list --repo work/repo")
@REPO
@DATABASE
@JSON
def list_tokens(repo: Path | None, database: str, as_json: bool) -> None:
    """List tokens by id: name, scope, and when they end or ended."""
    from pocketrec_server.auth import tokens

    with opened(repo, database) as engine:
        found = tokens.listed(engine)
    if as_json:
        click.echo(json.dumps({"tokens": [asdict(each) for each in found]}))
        return
    for each in found:
        end = f"until {_day(each.expires_utc)}"
        if each.revoked_utc is not None:
            end = f"revoked {_day(each.revoked_utc)}"
        click.echo(f"{each.id}  {each.scope:7}  {end:18}  {each.name}")


@token.command(epilog="Example: pocketrec admin token revoke 0a1b2c3d4e5f --repo work/repo")
@click.argument("token_id")
@REPO
@DATABASE
def revoke(token_id: str, repo: Path | None, database: str) -> None:
    """End a token, and the sessions that began with it."""
    from pocketrec_server.auth import audit, tokens

    with opened(repo, database) as engine, audit.noted(engine, None, "token revoke", token_id):
        tokens.revoke(engine, token_id, int(time.time()))
    click.echo(f"{token_id} revoked")


@command.command("audit", epilog="Example: pocketrec admin audit --repo work/repo > audit.jsonl")
@REPO
@DATABASE
def show_audit(repo: Path | None, database: str) -> None:
    """Print the audit log, newest first: one JSON object a line."""
    from pocketrec_server.auth import audit

    with opened(repo, database) as engine:
        for each in audit.every(engine):
            click.echo(json.dumps(asdict(each)))


def _day(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).date().isoformat()
