"""`pocketrec keys`: the keys of a repository, and what they sign."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec import passphrase
from pocketrec.commands.repository.keys_backup import backup_key
from pocketrec.commands.repository.keys_options import BY, JSON, KEYS, PLAIN, REASON, REPO, note_of
from pocketrec_bundle.units import DAY_S

if TYPE_CHECKING:
    from pocketrec_server.repository.rotation import Rotation

NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.group(epilog="Example: pocketrec keys status --repo work/repo --keys work/keys")
def command() -> None:
    """Make, watch, rotate and revoke the keys that sign releases."""


command.add_command(backup_key)


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
@JSON
def make(out: Path, root_keys: int, plain: bool, as_json: bool) -> None:
    """Make Ed25519 keys of all roles and of the channels stable, beta and canary.

    They are encrypted with POCKETREC_KEY_PASSPHRASE, or a passphrase that is asked for. A name that
    has a .uri file in the folder, which leads to a KMS or HSM, is passed over.
    """
    from pocketrec_server.repository.keys import make_keys

    made = make_keys(out, root_keys=root_keys, passphrase=passphrase.chosen(plain=plain))
    paths = [str(path) for path in made]
    click.echo(json.dumps({"keys": paths}) if as_json else "\n".join(paths))


@command.command(epilog="Example: pocketrec keys status --repo work/repo --keys work/keys")
@REPO
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of keys; may be given again.",
)
@JSON
def status(repo: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Show each role's version, expiry and keys, and what is due; no key is opened.

    Exit code 1 if metadata of a role has expired, which phones refuse.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.renewal import EXPIRED, OK, status

    rows = status(repo, load_signers(*keys))
    expired = [row.role for row in rows if row.state == EXPIRED]
    if as_json:
        click.echo(json.dumps({"roles": [asdict(row) for row in rows], "expired": expired}))
        click.get_current_context().exit(1 if expired else 0)
    click.echo(f"{'role':<12} {'version':>7}  {'expires':<10} {'days':>5}  state    keys")
    for row in rows:
        day = time.strftime("%Y-%m-%d", time.gmtime(row.expires_utc))
        here = f"; here: {', '.join(row.here)}" if row.here else ""
        told = f"{row.threshold} of {', '.join(keyid[:8] for keyid in row.keyids)}{here}"
        days = row.left_s / DAY_S
        click.echo(f"{row.role:<12} {row.version:>7}  {day} {days:>5.0f}  {row.state:<7}  {told}")
    for row in rows:
        if row.state != OK:
            click.echo(f"{row.role} is {row.state}: {row.remedy}", err=True)
    click.get_current_context().exit(1 if expired else 0)


@command.command(
    epilog="Example: pocketrec keys rotate timestamp --repo work/repo --keys work/keys"
)
@NAMES
@REPO
@KEYS
@PLAIN
@BY
@REASON
@JSON
def rotate(
    names: tuple[str, ...],
    repo: Path,
    keys: tuple[Path, ...],
    plain: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Put new keys in the place of keys that are old or lost.

    NAME is root-1, root-2, ..., targets, snapshot, timestamp, brake or a channel. The first ones
    take two root keys, brake and channels the targets key; all take snapshot and timestamp. The old
    key stays as NAME.pem.KEYID. A key of a KMS is taken from NAME.next.uri.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.rotation import rotate
    from pocketrec_server.repository.state import check_founded

    note = note_of(by, reason)
    check_founded(repo)
    signers = load_signers(*keys, ask=passphrase.asked)
    secret = passphrase.chosen(plain=plain)
    _tell(rotate(repo, signers, names, secret, note), as_json)


@command.command(epilog="Example: pocketrec keys revoke stable --repo work/repo --keys work/keys")
@NAMES
@REPO
@KEYS
@PLAIN
@BY
@REASON
@JSON
def revoke(
    names: tuple[str, ...],
    repo: Path,
    keys: tuple[Path, ...],
    plain: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Rotate keys that may be in other hands, and sign again what they signed.

    Of snapshot and timestamp always both are revoked. If a thief may have had them beside another
    key, name them too: devices then forget the version numbers that the thief left them with.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.rotation import revoke
    from pocketrec_server.repository.state import check_founded

    note = note_of(by, reason)
    check_founded(repo)
    signers = load_signers(*keys, ask=passphrase.asked)
    secret = passphrase.chosen(plain=plain)
    _tell(revoke(repo, signers, names, secret, note), as_json)


@command.command(
    "add-channel",
    epilog="Example: pocketrec keys add-channel night --repo work/repo --keys work/keys",
)
@click.argument("channel")
@REPO
@KEYS
@PLAIN
@BY
@REASON
@JSON
def add_channel(
    channel: str,
    repo: Path,
    keys: tuple[Path, ...],
    plain: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Add a channel; makes its key in the first folder of --keys, if it is not there.

    Takes the keys of targets, snapshot and timestamp.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.rotation import add_channel
    from pocketrec_server.repository.state import check_founded

    note = note_of(by, reason)
    check_founded(repo)
    signers = load_signers(*keys, ask=passphrase.asked)
    secret = passphrase.chosen(plain=plain)
    path = add_channel(repo, signers, channel, secret, note)
    click.echo(json.dumps({"channel": channel, "key": str(path)}) if as_json else f"{path}")


def _tell(done: "Rotation", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    for name, path in done.keys.items():
        click.echo(f"{name}: {path}")
    click.echo(f"root version {done.root_version}; signed again: {', '.join(done.signed)}")
