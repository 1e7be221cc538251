"""`pocketrec publish`: sign a bundle and put it on a channel."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec import passphrase
from pocketrec.commands.keys_options import KEYS
from pocketrec.late_bar import LateBar


@click.command(epilog="Example: pocketrec publish work/bundle --repo work/repo --keys work/keys")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="The repository.")
@KEYS
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option(
    "--deltas",
    type=click.IntRange(0, 20),
    default=3,
    show_default=True,
    help="Make deltas from so many releases before this one.",
)
@click.option(
    "--percent",
    type=click.FloatRange(0, 100),
    default=100.0,
    show_default=True,
    help="Share of the devices that may take it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    bundle: Path,
    repo: Path,
    keys: tuple[Path, ...],
    channel: str,
    deltas: int,
    percent: float,
    as_json: bool,
) -> None:
    """Verify BUNDLE, sign it and make it the newest release of a channel.

    Takes the keys of the channel, snapshot and timestamp. The first publish founds the repository,
    and takes all keys.
    """
    from sync_server import repository
    from sync_server.keys import load_signers

    with LateBar("deltas") as bar:
        report = repository.publish(
            bundle,
            repo,
            load_signers(*keys, ask=passphrase.asked),
            channel,
            percent=percent,
            keep=deltas,
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
