"""`pocketrec refresh`: renew metadata before it expires."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.repository.keys_options import KEYS, REPO


@click.command(epilog="Example: pocketrec refresh --repo work/repo --keys work/keys")
@REPO
@KEYS
@click.option(
    "--all", "everything", is_flag=True, help="Renew all roles with available keys, due or not."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(repo: Path, keys: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """Renew metadata that has less than half of its lifetime left.

    Run it daily with cron; `pocketrec serve --keys` does the same automatically. The keys of
    snapshot and timestamp are required. Other roles are renewed if their keys are in --keys.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.publish import refresh

    signers = load_signers(*keys, ask=passphrase.asked)
    done = refresh(repo, signers, everything=everything)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo("signed again: " + (", ".join(done.signed) or "nothing was due"))
    if done.due:
        click.echo(f"due, but their keys are missing: {', '.join(done.due)}", err=True)
