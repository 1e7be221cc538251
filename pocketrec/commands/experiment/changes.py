"""`pocketrec experiment ramp`, `pause`, `resume`, `stop`, `kill`, `ship` and channel settings."""

from collections.abc import Callable
from pathlib import Path

import click

from pocketrec.commands.experiment import table
from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import (
    CHANNEL,
    JSON,
    PERCENT,
    RampStep,
    signers_of,
)
from pocketrec.finite import FiniteRange

ID = click.argument("experiment", metavar="ID")


@click.command(
    epilog="Example: pocketrec experiment ramp blend --percent 50 --repo work/repo --keys work/keys"
)
@ID
@REPO
@KEYS
@CHANNEL
@click.option("--percent", type=PERCENT, help="Share of the segment that is enrolled from now on.")
@click.option(
    "--ramp",
    "steps",
    type=RampStep(),
    multiple=True,
    help="A larger share from this time on; repeatable. --percent alone ends a ramp.",
)
@BY
@REASON
@JSON
def ramp(
    experiment: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    percent: float | None,
    steps: tuple[tuple[int, float], ...],
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Enrol more devices in the experiment ID. A share can only rise: no device changes its arm."""
    from pocketrec_server.experiments import signing

    if percent is None and not steps:
        raise click.UsageError("Give --percent, --ramp or both.")
    note, signers = note_of(by, reason), signers_of(repo, keys)
    signing.ramp(repo, signers, channel, experiment, percent, steps, note)
    table.say(repo, channel, as_json)


def _move(name: str, help_text: str) -> click.Command:
    def run(
        experiment: str,
        repo: Path,
        keys: tuple[Path, ...],
        channel: str,
        by: str | None,
        reason: str,
        as_json: bool,
    ) -> None:
        from pocketrec_server.experiments import signing

        note, signers = note_of(by, reason), signers_of(repo, keys)
        signing.move(repo, signers, channel, experiment, name, note)
        table.say(repo, channel, as_json)

    run.__doc__ = help_text
    chosen: Callable[..., None] = run
    for option in (JSON, REASON, BY, CHANNEL, KEYS, REPO, ID):
        chosen = option(chosen)
    epilog = f"Example: pocketrec experiment {name} blend --repo work/repo --keys work/keys"
    return click.command(name, epilog=epilog)(chosen)


pause = _move(
    "pause", "Enrol no more devices in the experiment ID; those with an exposure keep their arm."
)
resume = _move("resume", "Enrol devices in the experiment ID again, after a pause.")
stop = _move("stop", "End the experiment ID: no device has an arm any more.")
kill = _move(
    "kill",
    """End the experiment ID because it does harm: no device has an arm any more.

    None of its arms can be shipped later. To remove a release, use `pocketrec rollout kill`.
    """,
)


@click.command(
    epilog="Example: pocketrec experiment ship blend treatment --repo work/repo --keys work/keys"
)
@ID
@click.argument("arm")
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def ship(
    experiment: str,
    arm: str,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """End the experiment ID and give ARM to every device.

    A release of the arm becomes the newest of the channel, for 100% of the devices. Its rules,
    weights, campaigns, flags and model set apply until the experiment is stopped; put them into the
    next release.
    """
    from pocketrec_server.experiments import changes, signing

    note, signers = note_of(by, reason), signers_of(repo, keys)
    after = changes.find(signing.ship(repo, signers, channel, experiment, arm, note), experiment)
    winner = after.arm(arm)
    if winner is not None and winner.models is not None:
        click.echo(
            f"{arm}: every app that reads model sets fetches set {winner.models}. To give its "
            "ranker to all apps, export its run as the release's own, publish that, and then run: "
            f"pocketrec experiment stop {experiment}",
            err=True,
        )
    table.say(repo, channel, as_json)


@click.command(
    epilog="Example: pocketrec experiment holdout 0.05 --repo work/repo --keys work/keys"
)
@click.argument("share", type=FiniteRange(0, 1))
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def holdout(
    share: float,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set the SHARE of devices, 0..1, that no experiment enrols; 0 for no holdout.

    It can only change while no experiment is open.
    """
    from pocketrec_server.experiments import signing

    note, signers = note_of(by, reason), signers_of(repo, keys)
    signing.set_holdout(repo, signers, channel, share, note)
    table.say(repo, channel, as_json)


@click.command(
    epilog="Example: pocketrec experiment conversions purchase like --repo work/repo"
    " --keys work/keys"
)
@click.argument("events", metavar="EVENT...", nargs=-1, required=True)
@REPO
@KEYS
@CHANNEL
@BY
@REASON
@JSON
def conversions(
    events: tuple[str, ...],
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Set the event types that are conversions: for phones' sums, guardrails and the report.

    The value of these events is revenue. Apps that know only format 1 of the experiments have no
    experiments if this is not `purchase` alone. It can only change while no experiment is open.
    """
    from pocketrec_server.experiments import signing

    note, signers = note_of(by, reason), signers_of(repo, keys)
    signing.set_conversions(repo, signers, channel, events, note)
    table.say(repo, channel, as_json)
