"""`pocketrec experiment halt` and `unhalt`: end an arm by hand, or let it go on after a halt."""

from pathlib import Path

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.experiment.changes import ID
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON, signers_of

ARM = click.argument("arm", metavar="ARM")


@click.command(
    epilog="Example: pocketrec experiment halt blend variety --repo work/repo --keys work/online"
    " --reason 'slow slates'"
)
@ID
@ARM
@REPO
@KEYS
@CHANNEL
@click.option("--reason", required=True, help="Reason; devices and the history show it.")
@BY
@JSON
def halt(
    experiment: str,
    arm: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Halt ARM of the experiment ID, signed with the brake's key, as a broken guardrail does.

    Devices in the arm use their release as it is; other arms go on.
    """
    from pocketrec_server.experiments.changes import find_arm
    from pocketrec_server.experiments.halted_arms import halt_arm
    from pocketrec_server.experiments.signing import read_experiments

    note, signers = note_of(by, reason), signers_of(repo, keys)
    one = find_arm(read_experiments(repo, channel), experiment, arm)
    halt_arm(repo, signers, channel, one, arm, reason, by=note.by)
    table.say(repo, channel, as_json)


@click.command(
    epilog="Example: pocketrec experiment unhalt blend variety --repo work/repo --keys work/online"
)
@ID
@ARM
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def unhalt(
    experiment: str,
    arm: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Let ARM of the experiment ID go on after a halt, signed with the brake's key.

    The next daily look at its guardrails can halt it again.
    """
    from pocketrec_server.experiments.changes import find_arm
    from pocketrec_server.experiments.halted_arms import unhalt_arm
    from pocketrec_server.experiments.signing import read_experiments

    note, signers = note_of(by, reason), signers_of(repo, keys)
    one = find_arm(read_experiments(repo, channel), experiment, arm)
    unhalt_arm(repo, signers, channel, one, arm, note=note)
    table.say(repo, channel, as_json)
