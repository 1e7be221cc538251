"""`pocketrec rollout halt` and `unhalt`: halt a release by hand."""

from pathlib import Path

import click

from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON, RELEASE, say, signers_of


@click.command(
    epilog="Example: pocketrec rollout halt spring --repo work/repo --keys work/online"
    " --reason 'odd slates'"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@click.option("--reason", required=True, help="Reason; devices and the history show it.")
@BY
@JSON
def halt(
    release: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Stop offering RELEASE, signed with the brake's key, as the server's circuit breaker does."""
    from pocketrec_server.repository import publish as repository
    from pocketrec_server.repository.rollout import find

    note = note_of(by, reason)
    stage = find(repository.read_policy(repo, channel), release)
    signers = signers_of(repo, keys)
    repository.halt(repo, signers, channel, stage.manifest, reason, by=note.by)
    say(repo, channel, as_json)


@click.command(
    epilog="Example: pocketrec rollout unhalt spring --repo work/repo --keys work/online"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def unhalt(
    release: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Offer RELEASE again after a halt, signed with the brake's key.

    After a halt by the server or its site, only outcomes reported since then count.
    """
    from pocketrec_server.repository import publish as repository
    from pocketrec_server.repository.rollout import find

    note = note_of(by, reason)
    stage = find(repository.read_policy(repo, channel), release)
    signers = signers_of(repo, keys)
    repository.unhalt(repo, signers, channel, stage.manifest, note=note)
    say(repo, channel, as_json)
