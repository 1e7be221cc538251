"""Options of commands that use the server's database."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketrec_bundle.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

REPO = click.option(
    "--repo", type=click.Path(path_type=Path), help="Repository that holds the database."
)
DATABASE = click.option("--database", "--db", "database", default="", help="SQLAlchemy URL.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@contextmanager
def connected(repo: Path | None, database: str, *, make: bool = False) -> "Iterator[Engine]":
    """Connect to the database of the options for the block, without checking its tables.

    Raises:
        UsageError: neither option is given.
        InputError: the database does not exist, and `make` is False.
    """
    from pocketrec_server.storage.database import connect

    engine = connect(_url(repo, database, make))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def opened(repo: Path | None, database: str, *, make: bool = False) -> "Iterator[Engine]":
    """Open the database of the options for the block; see `connected`."""
    from pocketrec_server.storage.database import open_database

    engine = open_database(_url(repo, database, make))
    try:
        yield engine
    finally:
        engine.dispose()


def _url(repo: Path | None, database: str, make: bool) -> str:
    from pocketrec_server.repository.place import check_served
    from pocketrec_server.storage.database import default_url, is_there

    if not database and repo is None:
        raise click.UsageError("--repo or --database is needed.")
    if not database and repo is not None:
        check_served(repo)
    url = database or default_url(repo or Path())
    if not (make or is_there(url)):
        raise InputError(f"{url}: no such database. The server creates it at its start.")
    return url
