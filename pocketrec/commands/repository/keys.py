"""`pocketrec keys`: make, show, rotate and revoke the signing keys of a repository."""

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
    """Make, show, rotate and revoke the keys that sign releases."""


command.add_command(backup_key)


@command.command(epilog="Example: pocketrec keys make --out work/keys --plain")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the keys.")
@click.option(
    "--root-keys",
    type=click.IntRange(2, 9),
    default=3,
    show_default=True,
    help="Number of root keys; two of them have to sign.",
)
@PLAIN
@JSON
def make(out: Path, root_keys: int, plain: bool, as_json: bool) -> None:
    """Make Ed25519 keys for all roles, and for the channels stable, beta and canary.

    Keys are encrypted with POCKETREC_KEY_PASSPHRASE, or with a passphrase that you type. Names with
    a .uri file in the folder (a key in a KMS or HSM) are skipped.
    """
    from pocketrec_server.repository.keys import make_keys

    files = make_keys(out, root_keys=root_keys, passphrase=passphrase.chosen(plain=plain))
    paths = [str(path) for path in files]
    click.echo(json.dumps({"keys": paths}) if as_json else "\n".join(paths))


@command.command(epilog="Example: pocketrec keys status --repo work/repo --keys work/keys")
@REPO
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of keys; repeatable.",
)
@JSON
def status(repo: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Show each role's version, expiry and keys, and what to renew; opens no key.

    Exit code 1 if metadata of a role has expired, because devices reject it.
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
        signers = f"{row.threshold} of {', '.join(keyid[:8] for keyid in row.keyids)}{here}"
        days = row.left_s / DAY_S
        click.echo(
            f"{row.role:<12} {row.version:>7}  {day} {days:>5.0f}  {row.state:<7}  {signers}"
        )
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
    """Replace keys that are old or lost.

    NAME is root-1, root-2, ..., targets, snapshot, timestamp, brake or a channel. The targets key
    signs for brake and channels, two root keys for the other names; snapshot and timestamp always
    sign too. The old key is kept as NAME.pem.KEYID. The new key of a KMS comes from NAME.next.uri.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.rotation import rotate
    from pocketrec_server.repository.state import check_founded

    note = note_of(by, reason)
    check_founded(repo)
    signers = load_signers(*keys, ask=passphrase.asked)
    secret = passphrase.chosen(plain=plain)
    _report(rotate(repo, signers, names, secret, note), as_json)


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
    """Replace keys that may be stolen, and sign the metadata of their roles again.

    Snapshot and timestamp are always replaced together. If they may be stolen along with another
    key, name them too: devices then reset the version numbers that the attacker gave them.
    """
    from pocketrec_server.repository.keys import load_signers
    from pocketrec_server.repository.rotation import revoke
    from pocketrec_server.repository.state import check_founded

    note = note_of(by, reason)
    check_founded(repo)
    signers = load_signers(*keys, ask=passphrase.asked)
    secret = passphrase.chosen(plain=plain)
    _report(revoke(repo, signers, names, secret, note), as_json)


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
    """Add a channel. Makes its key in the first folder of --keys, if it does not exist.

    The keys of targets, snapshot and timestamp sign.
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


def _report(rotation: "Rotation", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(rotation)))
        return
    for name, path in rotation.keys.items():
        click.echo(f"{name}: {path}")
    click.echo(f"root version {rotation.root_version}; signed again: {', '.join(rotation.signed)}")
