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
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="Target folder.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="Public key of your backups: backup.pub of `keys backup-key`.",
)
@click.option(
    "--trust-unsigned-backup",
    is_flag=True,
    help="Instead of --key, for a backup of an earlier version. Its content is not proved by a"
    " signature. Tokens are never restored.",
)
@click.option(
    "--with-secrets",
    is_flag=True,
    help="Also restore operators' tokens and the salt of exported ids.",
)
@click.option("--force", is_flag=True, help="Replace an existing repository.")
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
    """Verify FILE, then restore its repository and database to --repo. Stop the server first.

    Devices that saw newer metadata reject older metadata: see the operator's guide.
    """
    from pocketrec_server.copies.restore import restore

    if (key is None) != trust_unsigned_backup:
        raise click.UsageError(
            "--key is needed: backup.pub of the machine that made the backup. For a backup of an "
            "earlier version, use --trust-unsigned-backup instead."
        )
    report = restore(file, repo, key, force=force, with_secrets=with_secrets)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    backup = report.backup
    created = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(backup.created_utc))
    proof = "signed" if report.signed else "NOT SIGNED"
    click.echo(f"{repo}: {backup.files} files, {backup.bytes:,} bytes, made {created}, {proof}")
    if backup.database and not report.secrets:
        click.echo(
            f"not restored: {report.tokens_left_out} operator tokens, and the salt of exported ids."
            " Make new tokens (`pocketrec admin token make`) and export events into a new folder.",
            err=True,
        )
