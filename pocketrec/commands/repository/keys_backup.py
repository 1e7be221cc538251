"""`pocketrec keys backup-key`: the key that signs backups."""

import json
from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.repository.keys_options import JSON, PLAIN


@click.command("backup-key", epilog="Example: pocketrec keys backup-key --out backup-key --plain")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the key.")
@PLAIN
@JSON
def backup_key(out: Path, plain: bool, as_json: bool) -> None:
    """Make the key pair of backups: backup.pem signs, backup.pub verifies.

    Keep backup.pem where `pocketrec backup` runs. Keep backup.pub, which is not secret, with the
    root keys: `pocketrec restore` needs it. Keep neither next to the backups.
    """
    from pocketrec_server.copies.seal import make_backup_key

    private, public, fingerprint = make_backup_key(out, passphrase.chosen(plain=plain))
    if as_json:
        click.echo(
            json.dumps({"key": str(private), "public": str(public), "fingerprint": fingerprint})
        )
        return
    click.echo(f"{private}: signs backups; keep it on the machine that makes them")
    click.echo(f"{public}: verifies them, fingerprint {fingerprint}; keep it with the root keys")
