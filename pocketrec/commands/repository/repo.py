"""`pocketrec repo`: create a repository, and show its history."""

import json
from pathlib import Path

import click

from pocketrec import history_table, passphrase
from pocketrec.commands.repository.keys_options import BY, JSON, KEYS, REASON, REPO, note_of


@click.group(epilog="Example: pocketrec repo init --repo work/repo --keys work/keys")
def command() -> None:
    """Create a repository of signed releases, and show its history."""


@command.command(epilog="Example: pocketrec repo init --repo work/repo --keys work/keys")
@REPO
@KEYS
@click.option(
    "--channel",
    "channels",
    multiple=True,
    help="Name; repeatable; default: those of stable, beta and canary with a key in --keys.",
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
    """Create a repository in a new or empty folder. Add releases with `publish`.

    All keys sign: at least two root keys, targets, snapshot, timestamp, brake, and each channel's.
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
    """Print the changes of all channels and keys, newest first: who, when and why."""
    from pocketrec_server.repository.history import whole_history

    click.echo(history_table.shown(whole_history(repo), as_json=as_json))
