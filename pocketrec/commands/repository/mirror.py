"""`pocketrec mirror`: copy a repository to where a plain file server hands it out."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pocketrec.commands.repository.keys_options import JSON, REPO
from pocketrec.late_bar import LateBar


@click.command(epilog="Example: pocketrec mirror --repo work/repo --to s3://shop-releases/v1")
@REPO
@click.option("--to", required=True, help="A folder, or s3://bucket/prefix.")
@click.option("--endpoint", help="URL of a store that speaks S3 but is not Amazon's.")
@JSON
def command(repo: Path, to: str, endpoint: str | None, as_json: bool) -> None:
    """Copy what is missing of the repository, the timestamp last; run it after each publish.

    Any server of static files, or a CDN over the bucket, then serves phones: they check all by
    themselves. Events, outcomes and the admin site need `pocketrec serve`.
    """
    from pocketrec_server.copies.mirror import mirror, place_of

    with LateBar("files") as bar:
        report = mirror(repo, place_of(to, endpoint), bar.show)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(f"{report.files} files copied, {report.bytes:,} bytes; {report.known} were there")
