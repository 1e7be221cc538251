"""`pocketrec keys`: the keys of a repository, and what they sign."""

import json
from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.keys_options import PLAIN


@click.group(epilog="Example: pocketrec keys make --out work/keys --plain")
def command() -> None:
    """Make, watch, rotate and revoke the keys that sign releases."""


@command.command(epilog="Example: pocketrec keys make --out work/keys --plain")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the keys.")
@click.option(
    "--root-keys",
    type=click.IntRange(2, 9),
    default=3,
    show_default=True,
    help="Keys of root; two of them have to sign.",
)
@PLAIN
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def make(out: Path, root_keys: int, plain: bool, as_json: bool) -> None:
    """Make Ed25519 keys of all roles and of the channels stable, beta and canary.

    They are encrypted with POCKETREC_KEY_PASSPHRASE, or a passphrase that is asked for. A name that
    has a .uri file in the folder, which leads to a KMS or HSM, is passed over.
    """
    from sync_server.keys import make_keys

    made = make_keys(out, root_keys=root_keys, passphrase=passphrase.chosen(plain=plain))
    paths = [str(path) for path in made]
    click.echo(json.dumps({"keys": paths}) if as_json else "\n".join(paths))
