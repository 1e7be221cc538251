"""`pocketrec rollout halt` and `unhalt`: the brake, by hand."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec import passphrase
from pocketrec.commands.keys_options import KEYS, REPO
from pocketrec.commands.rollout_options import CHANNEL, JSON, RELEASE, say

if TYPE_CHECKING:
    from bundle.rollout import RolloutPolicy


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


@click.command(epilog="Example: pocketrec rollout unhalt spring --repo work/repo --keys work/keys")
@RELEASE
@REPO
@KEYS
@CHANNEL
@JSON
def unhalt(release: str, repo: Path, keys: tuple[Path, ...], channel: str, as_json: bool) -> None:
    """Let devices take RELEASE again.

    If it had a limit of failures, that goes, since what was counted is beyond it: set another by
    `rollout stage --halt-above`. Takes the keys of the channel, too.
    """
    from sync_server import repository
    from sync_server.keys import load_signers
    from sync_server.rollout import changed, find

    found = find(repository.read_policy(repo, channel), release)
    signers = load_signers(*keys, ask=passphrase.asked)
    if found.most_failures is not None:

        def unlimited(policy: "RolloutPolicy") -> "RolloutPolicy":
            return changed(policy, find(policy, found.manifest), most_failures=None)

        repository.change_policy(repo, signers, channel, unlimited)
    repository.unhalt(repo, signers, channel, found.manifest)
    say(repo, channel, as_json)
