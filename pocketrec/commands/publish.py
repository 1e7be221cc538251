"""`pocketrec publish`: sign a bundle and put it on a channel."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.late_bar import LateBar


@click.command(epilog="Example: pocketrec publish work/bundle --repo work/repo --keys work/keys")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="The repository.")
@click.option("--keys", type=click.Path(path_type=Path), required=True, help="Folder of the keys.")
@click.option("--channel", default="stable", show_default=True, help="Release channel.")
@click.option(
    "--deltas",
    type=click.IntRange(0, 20),
    default=3,
    show_default=True,
    help="Make deltas from so many releases before this one.",
)
@click.option("--refresh", is_flag=True, help="Only renew the expiry dates.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    bundle: Path | None,
    repo: Path,
    keys: Path,
    channel: str,
    deltas: int,
    refresh: bool,
    as_json: bool,
) -> None:
    """Verify BUNDLE, sign it and make it the release of a channel."""
    from sync_server import repository
    from sync_server.keys import load_signers

    if refresh:
        version = repository.refresh(repo, load_signers(keys))
        click.echo(json.dumps({"version": version}) if as_json else f"version {version}")
        return
    if bundle is None:
        raise click.UsageError("BUNDLE is needed (or --refresh).")
    with LateBar("deltas") as bar:
        report = repository.publish(
            bundle, repo, load_signers(keys), channel, keep=deltas, tell=bar.show
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    news = f"{report.new_files} new files, {report.new_bytes:,} bytes"
    if report.deltas:
        news += f"; {report.deltas} deltas, {report.delta_bytes:,} bytes"
    click.echo(
        f"{report.release} on {report.channel}, version {report.version}: "
        + (news if report.changed else "already published")
    )
