"""`pocketrec prune`: remove files that devices no longer need."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.repository.keys_options import JSON, REPO
from pocketrec.finite import FiniteRange


@click.command(epilog="Example: pocketrec prune --repo work/repo --days 30 --dry-run")
@REPO
@click.option(
    "--days",
    type=FiniteRange(min=0),
    default=7.0,
    show_default=True,
    help="Keep files that were current within this number of days.",
)
@click.option("--dry-run", is_flag=True, help="Count the files without removing them.")
@JSON
def command(repo: Path, days: float, dry_run: bool, as_json: bool) -> None:
    """Remove old metadata, and files of releases that no channel lists any more.

    Kept are releases for a rollback, all roots, and files that devices may be downloading.
    """
    from pocketrec_server.repository.pruning import prune

    done = prune(repo, days, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{'would remove' if dry_run else 'removed'} {done.files} files, {done.bytes:,} bytes"
    )
