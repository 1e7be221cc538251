"""`pocketrec serve`: run the sync server."""

from pathlib import Path

import click


@click.command(epilog="Example: pocketrec serve --repo work/repo --port 8080")
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="The repository.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True)
@click.option("--port-file", type=click.Path(path_type=Path), help="Write the port to this file.")
@click.option("--database", default="", help="SQLAlchemy URL; default: SQLite in the repository.")
@click.option("--keys", type=click.Path(path_type=Path), help="Folder of the server's keys.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Number of processes; about one per core.",
)
@click.option("--blobs-url", default="", help="Redirect requests for targets to this address.")
@click.option(
    "--behind-proxy", is_flag=True, help="Trust the client address and scheme from one proxy."
)
@click.option(
    "--uploads-per-minute",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="Rate limit of uploads per install, in the long run and at once.",
)
@click.option(
    "--events-per-day",
    type=click.IntRange(1000),
    default=50_000,
    show_default=True,
    help="Rate limit of events per install.",
)
@click.option(
    "--network-events-per-hour",
    type=click.IntRange(1000),
    default=20_000,
    show_default=True,
    help="Rate limit of events per network (IPv4 /24, IPv6 /48).",
)
@click.option(
    "--all-events-per-day",
    type=click.IntRange(1000),
    default=5_000_000,
    show_default=True,
    help="Rate limit of events of all installs.",
)
@click.option(
    "--notifications",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file: whom to notify by webhook and e-mail of what needs attention.",
)
@click.option(
    "--log/--no-log", default=True, show_default=True, help="Log a JSON line per request."
)
def command(
    repo: Path,
    host: str,
    port: int,
    port_file: Path | None,
    database: str,
    keys: Path | None,
    workers: int,
    blobs_url: str,
    behind_proxy: bool,
    uploads_per_minute: int,
    events_per_day: int,
    network_events_per_hour: int,
    all_events_per_day: int,
    notifications: Path | None,
    log: bool,
) -> None:
    """Serve signed metadata, files, event uploads, the admin site, health and metrics.

    --port 0 takes a free port. SIGTERM ends the server after it has sent its responses.
    """
    import os

    from pocketrec_server.events.rate_limit import Limits
    from pocketrec_server.notifications.settings import read
    from pocketrec_server.serve import serve, transport_warning
    from pocketrec_server.settings import Settings

    settings = Settings(
        repo=repo,
        database_url=database,
        keys=keys,
        blobs_url=blobs_url,
        behind_proxy=behind_proxy,
        log_requests=log,
        limits=Limits(
            per_minute=uploads_per_minute,
            day_events=events_per_day,
            network_hour_events=network_events_per_hour,
            all_day_events=all_events_per_day,
        ),
        notifications=read(notifications, os.environ) if notifications else None,
    )
    if warning := transport_warning(host, behind_proxy=behind_proxy):
        click.echo(f"warning: {warning}", err=True)
    serve(settings, host, port, port_file, workers=workers, announce=click.echo)
