"""`pocketrec serve`: run the sync server."""

from pathlib import Path

import click


@click.command(epilog="Example: pocketrec serve --repo work/repo --port 8080")
@click.option("--repo", type=click.Path(path_type=Path), required=True, help="The repository.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True)
@click.option("--port-file", type=click.Path(path_type=Path), help="Write the port here.")
@click.option("--database", default="", help="SQLAlchemy URL; default: SQLite in the repository.")
def command(repo: Path, host: str, port: int, port_file: Path | None, database: str) -> None:
    """Serve signed metadata, files, event upload, health and metrics; --port 0 takes a free one."""
    from sync_server.serve import serve

    serve(repo, host, port, port_file, database)
