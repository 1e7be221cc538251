"""`pocketrec experiment`: start, watch and end signed experiments of a channel."""

from pathlib import Path

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.experiment.advance import advance
from pocketrec.commands.experiment.arm_halts import halt, unhalt
from pocketrec.commands.experiment.changes import (
    conversions,
    holdout,
    kill,
    pause,
    ramp,
    resume,
    ship,
    stop,
)
from pocketrec.commands.experiment.edit import edit
from pocketrec.commands.experiment.interleaving import interleaving
from pocketrec.commands.experiment.plan_file import read_plan
from pocketrec.commands.experiment.power import power
from pocketrec.commands.experiment.report import report
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import CHANNEL, JSON, signers_of


@click.group(epilog="Example: pocketrec experiment status --repo work/repo --channel stable")
def command() -> None:
    """Start, watch and end experiments. Devices follow at their next sync.

    Each device assigns itself to an arm, by a hash of its own random id. The keys of the channel,
    snapshot and timestamp sign changes.
    """


@command.command(
    epilog="Example: pocketrec experiment start blend.toml --repo work/repo --keys work/keys"
)
@click.argument("file", type=click.Path(path_type=Path))
@REPO
@KEYS
@CHANNEL
@click.option("--new-salt", is_flag=True, help="Draw the arms of an open experiment again.")
@BY
@REASON
@JSON
def start(
    file: Path,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    new_salt: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Start the experiment in FILE (TOML), or change an open one.

    An open experiment keeps its devices, arms and state; its text, end, guardrails and a rising
    percentage may change. Percentage and ramp stay unless FILE names them. A change of arms,
    shares, layer, segment or eligibility needs --new-salt.
    """
    from pocketrec_bundle.settings.experiment_arms import OLDEST_FORMAT
    from pocketrec_server.experiments import signing

    note, signers = note_of(by, reason), signers_of(repo, keys)
    plan = read_plan(file)
    before = signing.read_experiments(repo, channel).find(str(plan.get("id")))
    after = signing.start(repo, signers, channel, plan, new_salt=new_salt, note=note)
    if before is not None:
        click.echo(table.difference(before, after), err=True)
    if (format_ := signing.read_experiments(repo, channel).format) > OLDEST_FORMAT:
        click.echo(
            f"{channel}: its experiments are of format {format_}. Apps that only read format "
            f"{OLDEST_FORMAT} take part in none of them; releases, kills and halts still work.",
            err=True,
        )
    table.say(repo, channel, as_json)


@command.command(epilog="Example: pocketrec experiment status --repo work/repo --channel stable")
@REPO
@CHANNEL
@click.option("--database", default="", help="SQLAlchemy URL; default: SQLite in the repository.")
@JSON
def status(repo: Path, channel: str, database: str, as_json: bool) -> None:
    """Print the experiments of a channel, newest first, with the latest looks at guardrails."""
    table.say(repo, channel, as_json, database)


for subcommand in (edit, ramp, advance, pause, resume, stop, kill, halt, unhalt, ship, holdout):
    command.add_command(subcommand)
for subcommand in (conversions, report, power, interleaving):
    command.add_command(subcommand)
