"""Options by which commands find the server's database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

REPO = click.option(
    "--repo", type=click.Path(path_type=Path), help="Repository with the database in it."
)
DATABASE = click.option("--database", "--db", "database", default="", help="SQLAlchemy URL.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def url_of(repo: Path | None, database: str) -> str:
    """Return the URL that is meant.

    Raises:
        UsageError: neither option says which.
    """
    from sync_server.database import default_url

    if database:
        return database
    if repo is None:
        raise click.UsageError("--repo or --database is needed.")
    return default_url(repo)


def opened(repo: Path | None, database: str) -> "Engine":
    """Open the database that is meant; a SQLite file must be there."""
    from bundle.errors import InputError
    from sync_server.database import open_database

    if not database and repo is not None and not repo.is_dir():
        raise InputError(f"{repo}: no such folder; --repo is what `pocketrec publish` writes.")
    return open_database(url_of(repo, database))
