"""Options by which commands find the server's database."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundle.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

REPO = click.option(
    "--repo", type=click.Path(path_type=Path), help="Repository with the database in it."
)
DATABASE = click.option("--database", "--db", "database", default="", help="SQLAlchemy URL.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@contextmanager
def connected(repo: Path | None, database: str) -> "Iterator[Engine]":
    """Connect to the database that is meant, whatever its tables are, for as long as the block.

    Raises:
        UsageError: neither option says which.
        InputError: the repository is not there.
    """
    from sync_server.database import connect

    engine = connect(_url(repo, database))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def opened(repo: Path | None, database: str) -> "Iterator[Engine]":
    """Open the database that is meant, for as long as the block; see `connected`."""
    from sync_server.database import open_database

    engine = open_database(_url(repo, database))
    try:
        yield engine
    finally:
        engine.dispose()


def _url(repo: Path | None, database: str) -> str:
    from sync_server.database import default_url

    if database:
        return database
    if repo is None:
        raise click.UsageError("--repo or --database is needed.")
    if not repo.is_dir():
        raise InputError(f"{repo}: no such folder; --repo is what `pocketrec publish` writes.")
    return default_url(repo)
