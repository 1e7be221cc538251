"""`pocketrec publish`: sign a bundle and publish it on a channel."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.repository.keys_options import BY, KEYS, REASON, REPO, note_of
from pocketrec.commands.repository.rollout_options import signers_of
from pocketrec.finite import FiniteRange
from pocketrec.late_bar import LateBar


@click.command(epilog="Example: pocketrec publish work/bundle --repo work/repo --keys work/keys")
@click.argument("bundle", type=click.Path(path_type=Path))
@REPO
@KEYS
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option("--name", help="Name of the release; default: the name in the bundle.")
@click.option(
    "--deltas",
    type=click.IntRange(0, 20),
    default=3,
    show_default=True,
    help="Number of previous releases from which deltas are made.",
)
@click.option(
    "--percent",
    type=FiniteRange(0, 100),
    help="Share of the devices that are offered it; default: the channel's first stage.",
)
@click.option(
    "--older", is_flag=True, help="Publish it even if its data is older than the newest release's."
)
@click.option(
    "--app-least",
    help="Minimum version of the app. A release of bundle format 3 needs one; default: that of the "
    "channel's newest release that has one.",
)
@click.option(
    "--no-self-test", is_flag=True, help="Skip the self-test, on machines without an engine."
)
@BY
@REASON
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    bundle: Path,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    name: str | None,
    deltas: int,
    percent: float | None,
    older: bool,
    app_least: str | None,
    no_self_test: bool,
    by: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Verify BUNDLE, sign it and make it the newest release of a channel.

    The keys of the channel, snapshot and timestamp sign. Make the repository with `repo init`. Exit
    code 3 if the models fail the self-test, as in `pocketrec verify`. A channel's first stage is
    set by the first publish with --percent below 100, or by `rollout first-stage`.
    """
    from pocketrec.publishing import publish

    note, signers = note_of(by, reason), signers_of(repo, keys)
    with LateBar("deltas") as bar:
        report = publish(
            bundle=bundle,
            repo=repo,
            signers=signers,
            channel=channel,
            percent=percent,
            deltas=deltas,
            name=name,
            older=older,
            app_least=app_least,
            self_test=not no_self_test,
            note=note,
            warn=lambda text: click.echo(text, err=True),
            tell=bar.show,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    news = f"{report.new_files} new files, {report.new_bytes:,} bytes"
    if report.deltas:
        news += f"; {report.deltas} deltas, {report.delta_bytes:,} bytes"
    share = f" for {report.percent:g}%" if report.percent < 100 else ""
    click.echo(
        f"{report.release} on {report.channel}{share}, version {report.version}: "
        + (news if report.changed else "already published")
    )
    if percent is None and report.percent < 100:
        click.echo(
            f"{report.percent:g}% is the channel's first stage; more devices: pocketrec rollout "
            "stage",
            err=True,
        )
