"""`pocketrec admin`: manage the tokens of operators, and print the audit log."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pocketrec.commands.server.database_options import DATABASE, JSON, REPO, opened


@click.group(epilog="Example: pocketrec admin token list --repo work/repo")
def command() -> None:
    """Manage the tokens of a server's operators, and print the audit log."""


@command.group(epilog="Example: pocketrec admin token make --repo work/repo --name alice")
def token() -> None:
    """Make, list and revoke the tokens of a server's operators."""


@token.command(
    epilog="Example: pocketrec admin token make --repo work/repo --name alice --scope operate"
)
@REPO
@DATABASE
@click.option("--name", required=True, help="Name of its owner; the audit log shows it.")
@click.option(
    "--scope",
    type=click.Choice(["read", "operate"]),
    default="read",
    show_default=True,
    help="read: see the fleet; operate: also change its releases.",
)
@click.option(
    "--days", type=click.IntRange(1, 366), default=90, show_default=True, help="Expires in days."
)
@JSON
def make(repo: Path | None, database: str, name: str, scope: str, days: int, as_json: bool) -> None:
    """Make a token and print it once: the server stores only its SHA-256."""
    from pocketrec_server.auth import audit, tokens

    with (
        opened(repo, database, make=True) as engine,  # also before the server's first start
        audit.noted(engine, None, "token make", name, scope=scope, days=days),
    ):
        text, token = tokens.make(engine, name, scope, days, int(time.time()))
    if as_json:
        click.echo(json.dumps({"token": text, **asdict(token)}))
        return
    click.echo(text)
    click.echo(f"{token.name} can {token.scope} until {_day(token.expires_utc)}", err=True)


@token.command("list", epilog="Example: pocketrec admin token list --repo work/repo")
@REPO
@DATABASE
@JSON
def list_tokens(repo: Path | None, database: str, as_json: bool) -> None:
    """List the tokens: id, scope, expiry or revocation, and name."""
    from pocketrec_server.auth import tokens

    with opened(repo, database) as engine:
        listed = tokens.listed(engine)
    if as_json:
        click.echo(json.dumps({"tokens": [asdict(token) for token in listed]}))
        return
    for token in listed:
        end = f"until {_day(token.expires_utc)}"
        if token.revoked_utc is not None:
            end = f"revoked {_day(token.revoked_utc)}"
        click.echo(f"{token.id}  {token.scope:7}  {end:18}  {token.name}")


@token.command(epilog="Example: pocketrec admin token revoke 0a1b2c3d4e5f --repo work/repo")
@click.argument("token_id")
@REPO
@DATABASE
def revoke(token_id: str, repo: Path | None, database: str) -> None:
    """Revoke a token, and end the sessions that it started."""
    from pocketrec_server.auth import audit, tokens

    with opened(repo, database) as engine, audit.noted(engine, None, "token revoke", token_id):
        tokens.revoke(engine, token_id, int(time.time()))
    click.echo(f"{token_id} revoked")


@command.command("audit", epilog="Example: pocketrec admin audit --repo work/repo > audit.jsonl")
@REPO
@DATABASE
def show_audit(repo: Path | None, database: str) -> None:
    """Print the audit log, newest first, as JSON lines."""
    from pocketrec_server.auth import audit

    with opened(repo, database) as engine:
        for entry in audit.every(engine):
            click.echo(json.dumps(asdict(entry)))


def _day(utc: int) -> str:
    return datetime.fromtimestamp(utc, UTC).date().isoformat()
