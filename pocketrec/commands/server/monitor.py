"""`pocketrec monitor`: how releases do in the field, from exported events."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec.commands.server.database_options import JSON
from pocketrec_bundle.disk.files import check_free, write_atomic

if TYPE_CHECKING:
    from pocketrec_experiments.monitoring.report import Published

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: pocketrec monitor --events work/events --bundle work/bundle --out report.html"
)
@click.option("--events", type=_PATH, required=True, help="Folder of `pocketrec events export`.")
@click.option("--bundle", type=_PATH, required=True, help="Bundle that drift is measured from.")
@click.option("--repo", type=_PATH, help="Repository, for names and channels of releases.")
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=28,
    show_default=True,
    help="Days before the newest event.",
)
@click.option(
    "--click", "clicks", multiple=True, help="Event that counts as a click; repeatable. [all]"
)
@click.option("--now", type=click.IntRange(0), help="Unix seconds; default: the clock.")
@click.option("--out", type=_PATH, help="Also write the report as HTML.")
@click.option("--force", is_flag=True, help="Replace the file of --out.")
@click.option(
    "--prometheus",
    type=_PATH,
    help="Also write metrics for node_exporter's textfile collector, such as pocketrec.prom.",
)
@JSON
def command(
    events: Path,
    bundle: Path,
    repo: Path | None,
    days: int,
    clicks: tuple[str, ...],
    now: int | None,
    out: Path | None,
    force: bool,
    prometheus: Path | None,
    as_json: bool,
) -> None:
    """Report adoption, slates, latency, faults, calibration and drift by release.

    Drift compares events with the training data in the bundle's model card.
    """
    from pocketrec_experiments.monitoring.page import page
    from pocketrec_experiments.monitoring.prometheus import exposition
    from pocketrec_experiments.monitoring.report import Settings, monitor_report
    from pocketrec_experiments.monitoring.terminal import lines

    if out is not None:
        check_free(out, force=force)
    now_utc = int(time.time()) if now is None else now
    report = monitor_report(
        events=events,
        bundle=bundle,
        now_utc=now_utc,
        settings=Settings(days=days, clicks=clicks),
        published={} if repo is None else _published(repo),
    )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, page(report).encode())
    if prometheus is not None:
        write_atomic(prometheus, exposition(report, now_utc).encode())
        prometheus.chmod(0o644)  # node_exporter runs as another user
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    for line in lines(report):
        click.echo(line)


def _published(repo: Path) -> "dict[str, Published]":
    """Read the releases of a repository by their labels."""
    from pocketrec_experiments.monitoring.report import Published
    from pocketrec_server.monitoring.fleet import label_of, published_channels
    from pocketrec_server.repository.place import check_served

    check_served(repo)
    found: dict[str, Published] = {}
    for channel in published_channels(repo):
        for release in channel.releases:
            label = label_of(release.stage.manifest)
            before = found[label].channels if label in found else ()
            found[label] = Published(
                name=release.stage.name,
                channels=(*before, channel.policy.channel),
                data_until_utc=release.data_until_utc,
            )
    return found
