"""`pocketrec rollout halt` and `unhalt`: the brake, by hand."""

from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.keys_options import KEYS, REPO
from pocketrec.commands.rollout_options import CHANNEL, JSON, RELEASE, say


@click.command(
    epilog="Example: pocketrec rollout halt spring --repo work/repo --keys work/online"
    " --reason 'odd slates'"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@click.option("--reason", required=True, help="For people.")
@JSON
def halt(
    release: str, repo: Path, keys: tuple[Path, ...], channel: str, reason: str, as_json: bool
) -> None:
    """Let no further device take RELEASE, by the brake's key alone, as the server does."""
    from sync_server import repository
    from sync_server.keys import load_signers
    from sync_server.rollout import find

    found = find(repository.read_policy(repo, channel), release)
    signers = load_signers(*keys, ask=passphrase.asked)
    repository.halt(repo, signers, channel, found.manifest, reason)
    say(repo, channel, as_json)


@click.command(
    epilog="Example: pocketrec rollout unhalt spring --repo work/repo --keys work/online"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@JSON
def unhalt(release: str, repo: Path, keys: tuple[Path, ...], channel: str, as_json: bool) -> None:
    """Let devices take RELEASE again, by the brake's key alone.

    The server judges it by the devices that tell of it after the halt.
    """
    from sync_server import repository
    from sync_server.keys import load_signers
    from sync_server.rollout import find

    found = find(repository.read_policy(repo, channel), release)
    signers = load_signers(*keys, ask=passphrase.asked)
    repository.unhalt(repo, signers, channel, found.manifest)
    say(repo, channel, as_json)
