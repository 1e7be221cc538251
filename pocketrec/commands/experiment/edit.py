"""`pocketrec experiment edit`: change settings of an open experiment; devices keep their arms."""

from pathlib import Path
from typing import Any

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.experiment.changes import ID
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import (
    CHANNEL,
    JSON,
    PERCENT,
    Moment,
    RampStep,
    signers_of,
)
from pocketrec.finite import FiniteRange


@click.command(
    epilog="Example: pocketrec experiment edit blend --guardrail fallback_share 0.2 0.01"
    " --repo work/repo --keys work/keys"
)
@ID
@REPO
@KEYS
@CHANNEL
@click.option("--hypothesis", help="What you expect, for people.")
@click.option("--until", type=Moment(), help="End, such as 2026-12-01T08:00Z.")
@click.option("--percent", type=PERCENT, help="Share of the segment that is enrolled from now on.")
@click.option(
    "--ramp",
    "steps",
    type=RampStep(),
    multiple=True,
    help="A larger share from this time on; repeatable. --percent alone ends a ramp.",
)
@click.option(
    "--guardrail",
    "guardrails",
    type=(str, FiniteRange(0, 10), FiniteRange(0.0001, 0.2)),
    metavar="METRIC WORSE_BY ALPHA",
    multiple=True,
    help="Limit at which the server halts an arm; repeatable; replaces all guardrails.",
)
@click.option("--no-guardrails", is_flag=True, help="Remove all guardrails.")
@BY
@REASON
@JSON
def edit(
    experiment: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    hypothesis: str | None,
    until: int | None,
    percent: float | None,
    steps: tuple[tuple[int, float], ...],
    guardrails: tuple[tuple[str, float, float], ...],
    no_guardrails: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Change settings of the open experiment ID. Devices keep their arms; a share can only rise.

    A changed limit of a guardrail begins new looks.
    """
    from pocketrec_server.experiments import changes, signing

    if guardrails and no_guardrails:
        raise click.UsageError("Give --guardrail or --no-guardrails.")
    changed: dict[str, Any] = {}
    if hypothesis is not None:
        changed["hypothesis"] = hypothesis
    if until is not None:
        changed["until_utc"] = until
    if percent is not None or steps:
        changed["ramp"] = [list(step) for step in steps]
    if percent is not None:
        changed["percent"] = percent
    if guardrails or no_guardrails:
        names = ("metric", "worse_by", "alpha")
        changed["guardrails"] = [dict(zip(names, each, strict=True)) for each in guardrails]
    if not changed:
        raise click.UsageError("Give a setting to change.")
    note, signers = note_of(by, reason), signers_of(repo, keys)
    before = changes.find(signing.read_experiments(repo, channel), experiment)
    after = signing.edit(repo, signers, channel, experiment, changed, note)
    click.echo(table.difference(before, after), err=True)
    table.say(repo, channel, as_json)
