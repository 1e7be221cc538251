"""`pocketrec repo`: found a repository, and see who changed it."""

import json
from pathlib import Path

import click

from pocketrec import history_table, passphrase
from pocketrec.commands.repository.keys_options import BY, JSON, KEYS, REASON, REPO, note_of


@click.group(epilog="Example: pocketrec repo init --repo work/repo --keys work/keys")
def command() -> None:
    """Found a repository of signed releases, and see who changed it."""


@command.command(epilog="Example: pocketrec repo init --repo work/repo --keys work/keys")
@REPO
@KEYS
@click.option(
    "--channel",
    "channels",
    multiple=True,
    help="May be given again; by default stable, beta and canary, as far as their keys are here.",
)
@BY
@REASON
@JSON
def init(
    repo: Path,
    keys: tuple[Path, ...],
    channels: tuple[str, ...],
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Found a repository in a new or empty folder; `publish` then puts releases on its channels.

    Takes all keys: two of root at least, targets, snapshot, timestamp, brake, and each channel's.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.publish import found_repository

    note, signers = note_of(by, reason), load_signers(*keys, ask=passphrase.asked)
    names = found_repository(repo, signers, channels, note)
    if as_json:
        click.echo(json.dumps({"repo": str(repo), "channels": names}))
        return
    click.echo(f"{repo}: repository with the channels {', '.join(names)}")
    click.echo(f"apps trust {repo / 'metadata' / '1.root.json'}: ship it with the app", err=True)


@command.command(epilog="Example: pocketrec repo history --repo work/repo")
@REPO
@JSON
def history(repo: Path, as_json: bool) -> None:
    """Print who changed what of all channels and keys, when and why, newest first."""
    from pocketrec_server.repository.history import whole_history

    click.echo(history_table.shown(whole_history(repo), as_json=as_json))
