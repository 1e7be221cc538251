"""`pocketrec mirror`: copy a repository to a static file server or a bucket."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.repository.keys_options import JSON, REPO
from pocketrec.late_bar import LateBar


@click.command(epilog="Example: pocketrec mirror --repo work/repo --to s3://shop-releases/v1")
@REPO
@click.option("--to", required=True, help="A folder, or s3://bucket/prefix.")
@click.option("--endpoint", help="URL of an S3-compatible store, if not Amazon's.")
@JSON
def command(repo: Path, to: str, endpoint: str | None, as_json: bool) -> None:
    """Copy the missing files of a repository, the timestamp last. Run it after each publish.

    A static file server, or a CDN over the bucket, can then serve devices, because they verify all
    files. Events, outcomes and the admin site need `pocketrec serve`.
    """
    from pocketrec_server.copies.mirror import mirror, place_of

    with LateBar("files") as bar:
        report = mirror(repo, place_of(to, endpoint), bar.show)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.files} files copied, {report.bytes:,} bytes; {report.known} were up to date"
    )
