"""`pocketrec keys`: make the keys that sign releases."""

import json
from pathlib import Path

import click


@click.command(epilog="Example: pocketrec keys --out work/keys")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(out: Path, as_json: bool) -> None:
    """Make Ed25519 keys for root, targets, snapshot and timestamp.

    They are encrypted if POCKETREC_KEY_PASSPHRASE is set.
    """
    from sync_server.keys import make_keys

    paths = [str(path) for path in make_keys(out)]
    click.echo(json.dumps({"keys": paths}) if as_json else "\n".join(paths))
