"""`pocketrec rollout`: control which devices get which release of a channel."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec import history_table, rollout_table
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_advance import advance
from pocketrec.commands.repository.rollout_guard import guard
from pocketrec.commands.repository.rollout_halt import halt, unhalt
from pocketrec.commands.repository.rollout_options import (
    CHANNEL,
    JSON,
    PERCENT,
    RELEASE,
    change_release,
    say,
    signers_of,
)
from pocketrec.commands.repository.rollout_stage import stage, when

if TYPE_CHECKING:
    from pocketrec_bundle.settings.rollout import RolloutPolicy, Stage


@click.group(epilog="Example: pocketrec rollout show --repo work/repo --channel stable")
def command() -> None:
    """Stage, pause, kill, roll back and halt releases. Devices follow at their next sync.

    RELEASE is a release's name, or the first digits of its manifest's hash. The keys of the
    channel, snapshot and timestamp sign changes; those of brake, snapshot and timestamp sign halts.
    """


@command.command(epilog="Example: pocketrec rollout show --repo work/repo --channel stable")
@REPO
@CHANNEL
@click.option("--database", default="", help="SQLAlchemy URL; default: SQLite in the repository.")
@JSON
def show(repo: Path, channel: str, database: str, as_json: bool) -> None:
    """Print the releases of a channel, newest first, with their outcomes on devices."""
    facts = rollout_table.read(repo, channel, database)
    click.echo(json.dumps(facts) if as_json else "\n".join(rollout_table.lines(facts)))


command.add_command(stage)


def _state_command(name: str, state: str, help_text: str) -> None:
    def run(
        release: str,
        repo: Path,
        keys: tuple[Path, ...],
        channel: str,
        by: str | None,
        reason: str,
        as_json: bool,
    ) -> None:
        from pocketrec_server.repository.rollout import changed

        def change(policy: "RolloutPolicy", stage: "Stage") -> "RolloutPolicy":
            return changed(policy, stage, state=state)

        note = note_of(by, reason)
        change_release(release, repo, keys, channel, as_json, note, name, change)

    run.__doc__ = help_text
    epilog = f"Example: pocketrec rollout {name} spring --repo work/repo --keys work/keys"
    for option in (JSON, REASON, BY, CHANNEL, KEYS, REPO, RELEASE):
        run = option(run)
    command.command(name, epilog=epilog)(run)


_state_command("pause", "paused", "Stop offering RELEASE; devices that have it keep it.")
_state_command("resume", "active", "Offer RELEASE again, after a pause or a kill.")
_state_command(
    "kill",
    "killed",
    """Remove RELEASE from all devices at their next sync (kill switch).

    Each device switches to the next release of the list that it is offered, or else to its previous
    release. Without one, it uses its fallback lists until it gets another release.
    """,
)


@command.command(
    epilog="Example: pocketrec rollout rollback winter --repo work/repo --keys work/keys"
)
@RELEASE
@REPO
@KEYS
@CHANNEL
@click.option(
    "--percent",
    type=PERCENT,
    default=100.0,
    show_default=True,
    help="Share of the devices that return to it.",
)
@click.option("--kill", is_flag=True, help="Also kill all newer releases.")
@BY
@REASON
@JSON
def rollback(
    release: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    percent: float,
    kill: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Make the older RELEASE the newest of its channel again.

    A halted release is refused; the message lists the possible releases. RELEASE gets the failure
    limit of the newest release, unless it has its own.
    """
    from pocketrec_server.repository import publish as repository

    note, signers = note_of(by, reason), signers_of(repo, keys)
    repository.roll_back(repo, signers, channel, release, percent, kill=kill, note=note)
    say(repo, channel, as_json)


@command.command(
    "first-stage",
    epilog="Example: pocketrec rollout first-stage 5 --repo work/repo --keys work/keys",
)
@click.argument("percent", type=PERCENT)
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def first_stage(
    percent: float,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set the share of devices, in percent, at which `publish` starts each release of a channel.

    The first publish with --percent below 100 also sets it. 100 ends staging.
    """
    from pocketrec_server.repository import publish as repository

    note, signers = note_of(by, reason), signers_of(repo, keys)
    repository.set_first_percent(repo, signers, channel, percent, note)
    say(repo, channel, as_json)


@command.command(epilog="Example: pocketrec rollout history --repo work/repo --channel stable")
@REPO
@CHANNEL
@JSON
def history(repo: Path, channel: str, as_json: bool) -> None:
    """Print the changes of a channel, newest first: what, who, when and why."""
    from pocketrec_server.repository.history import policy_history
    from pocketrec_server.repository.publish import read_policy

    read_policy(repo, channel)  # raises InputError for an unknown channel
    changes = policy_history(repo, channel)
    click.echo(history_table.shown(changes, as_json=as_json))


for subcommand in (advance, guard, when, halt, unhalt):
    command.add_command(subcommand)
