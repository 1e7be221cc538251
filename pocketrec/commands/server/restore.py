"""`pocketrec restore`: restore a backup."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.server.database_options import JSON


@click.command(
    epilog="Example: pocketrec restore backup.tar --repo work/repo-2 --key backup-key/backup.pub"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="Where it goes.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Public key of your backups, backup.pub of `keys backup-key`.",
)
@click.option(
    "--trust-unsigned-backup",
    is_flag=True,
    help="In place of --key, for a backup of an earlier version: whoever could write the file"
    " chose what is in it. Tokens are never restored.",
)
@click.option(
    "--with-secrets",
    is_flag=True,
    help="Restore tokens of operators and the salt of exported ids too.",
)
@click.option("--force", is_flag=True, help="Replace the repository that is there.")
@JSON
def command(
    file: Path,
    repo: Path,
    key: Path | None,
    trust_unsigned_backup: bool,
    with_secrets: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Verify FILE, then put its repository and database at --repo; stop the server before.

    Phones that saw newer metadata refuse older one: see the operator's guide.
    """
    from pocketrec_server.copies.restore import restore

    if (key is None) != trust_unsigned_backup:
        raise click.UsageError(
            "--key is needed, backup.pub of the machine that made the backup; or, for a backup of "
            "an earlier version and in place of it, --trust-unsigned-backup."
        )
    report = restore(file, repo, key, force=force, with_secrets=with_secrets)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    backup = report.backup
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(backup.created_utc))
    proof = "signed" if report.signed else "NOT SIGNED"
    click.echo(f"{repo}: {backup.files} files, {backup.bytes:,} bytes, made {made}, {proof}")
    if backup.database and not report.secrets:
        click.echo(
            f"left out: {report.tokens_left_out} tokens of operators, and the salt of exported ids."
            " Make new tokens (`pocketrec admin token make`) and export events into a new folder.",
            err=True,
        )
