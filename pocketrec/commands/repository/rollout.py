"""`pocketrec rollout`: which devices take which release of a channel."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec import history_table, rollout_table
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
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
    """Stage, pause, kill, roll back and halt releases; devices see it at their next sync.

    RELEASE is a release's name, or the first digits of its manifest's hash. Changes take the keys
    of the channel, snapshot and timestamp; halts those of brake, snapshot and timestamp.
    """


@command.command(epilog="Example: pocketrec rollout show --repo work/repo --channel stable")
@REPO
@CHANNEL
@click.option("--database", default="", help="SQLAlchemy URL; default: SQLite in the repository.")
@JSON
def show(repo: Path, channel: str, database: str, as_json: bool) -> None:
    """Print the releases of a channel, the newest first, and how devices did with them."""
    facts = rollout_table.read(repo, channel, database)
    click.echo(json.dumps(facts) if as_json else "\n".join(rollout_table.lines(facts)))


command.add_command(stage)


def _state_command(name: str, state: str, said: str) -> None:
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

        def change(policy: "RolloutPolicy", found: "Stage") -> "RolloutPolicy":
            return changed(policy, found, state=state)

        note = note_of(by, reason)
        change_release(release, repo, keys, channel, as_json, note, name, change)

    run.__doc__ = said
    epilog = f"Example: pocketrec rollout {name} spring --repo work/repo --keys work/keys"
    for option in (JSON, REASON, BY, CHANNEL, KEYS, REPO, RELEASE):
        run = option(run)
    command.command(name, epilog=epilog)(run)


_state_command("pause", "paused", "Let no further device take RELEASE; those that have it keep it.")
_state_command("resume", "active", "Let devices take RELEASE again, after a pause or a kill.")
_state_command(
    "kill",
    "killed",
    """Take RELEASE from all devices at their next sync.

    Each goes to the next release of the list that it may have, else to the one it had before, else
    it answers from its fallback lists until another comes.
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
    help="Share of the devices that go back to it.",
)
@click.option("--kill", is_flag=True, help="Kill the releases that are newer.")
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
    """Make the older RELEASE the newest again, under a new version of the policy.

    A halted release is refused, and the possible ones are named. The failure limit of the newest
    release stays, unless RELEASE has its own.
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
    """Set the share of the devices at which `publish` starts each release of a channel.

    The first publish with --percent below 100 sets it too. 100 ends staging.
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
    """Print who changed what of a channel, when and why, newest first: publishes, stages, halts."""
    from pocketrec_server.repository.history import policy_history
    from pocketrec_server.repository.publish import read_policy

    read_policy(repo, channel)  # raises if there is no such channel
    changes = policy_history(repo, channel)
    click.echo(history_table.shown(changes, as_json=as_json))


for each in (when, halt, unhalt):
    command.add_command(each)
