"""Open the server's database by URL: SQLite in WAL mode by default, PostgreSQL for many servers.

A SQLite file is created and upgraded when it is opened, and only its owner can read it. A
PostgreSQL database is only upgraded by `pocketrec db upgrade`, because other servers may use it.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pocketrec_server.errors import DatabaseInvalidError
from pocketrec_server.repository.place import DATABASE_NAME

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 5.0
_CONNECT_S = 5
_UPGRADE_LOCK = 0x706F636B  # of pg_advisory_xact_lock; any number that nothing else takes


def default_url(repo: Path) -> str:
    """Return the URL of the database in a repository's folder."""
    return f"sqlite:///{repo.resolve() / DATABASE_NAME}"


def open_database(url: str) -> Engine:
    """Open a database with the tables of this version.

    Args:
        url: URL such as sqlite:////srv/server.sqlite or postgresql://user:password@host/name.

    Raises:
        DatabaseInvalidError: the database cannot be opened, needs an upgrade, or is of a newer
            version.
    """
    engine = connect(url)
    if not pending(engine):
        return engine
    if engine.dialect.name != "sqlite":
        engine.dispose()
        raise DatabaseInvalidError(
            f"{engine.url}: its tables are not those of this version. Stop the servers that use it"
            f" and run: pocketrec db upgrade --db URL"
        )
    upgrade(engine)
    return engine


def is_there(url: str) -> bool:
    """Return whether a database exists; False only for a missing SQLite file.

    Raises:
        DatabaseInvalidError: the URL is not valid.
    """
    address = _parsed(url)
    return address.get_backend_name() != "sqlite" or Path(address.database or "").is_file()


def connect(url: str) -> Engine:
    """Return an engine of a database, without checking its tables.

    Raises:
        DatabaseInvalidError: the URL is not valid, or not of SQLite or PostgreSQL.
    """
    address = _parsed(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite(address)
    if address.get_backend_name() == "postgresql":
        # A restarted database leaves dead connections in the pool: test each before use.
        return create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=8,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_S, "tcp_user_timeout": _CONNECT_S * 1000},
            hide_parameters=True,  # of errors, which are logged
        )
    raise DatabaseInvalidError(f"{address}: neither sqlite:// nor postgresql://.")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a writing transaction; SQLite then waits for the lock at the start, not later."""
    with engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which all reads see one state of the database."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def scrub(engine: Engine) -> None:
    """Remove deleted rows from a SQLite WAL; delayed while other connections read."""
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def dialect_of(connection: Connection) -> ModuleType:
    """Return SQLAlchemy's dialect module, whose `insert` supports ON CONFLICT."""
    return postgresql if connection.dialect.name == "postgresql" else sqlite


def pending(engine: Engine) -> list[str]:
    """Return the names of the pending migrations, oldest first.

    Raises:
        DatabaseInvalidError: the database cannot be read, or is of a newer version.
    """
    with _wrapped(engine), engine.connect() as connection:
        return _pending(connection)


def upgrade(engine: Engine) -> list[str]:
    """Apply the pending migrations, all or none, and return their names.

    Raises:
        DatabaseInvalidError: the database cannot be written, or is of a newer version.
    """
    with _wrapped(engine), writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        if names := _pending(connection):  # empty if another process was faster
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")
    return names


def _pending(connection: Connection) -> list[str]:
    scripts = ScriptDirectory(str(_MIGRATIONS))
    applied = set(MigrationContext.configure(connection).get_current_heads())
    known = {script.revision for script in scripts.walk_revisions()}
    if newer := applied - known:
        raise DatabaseInvalidError(
            f"{connection.engine.url}: was upgraded by a newer version of PocketRec"
            f" ({', '.join(sorted(newer))}). Update this one."
        )
    done = {script.revision for script in scripts.iterate_revisions(tuple(applied), "base")}
    return [
        script.revision
        for script in reversed(list(scripts.walk_revisions()))
        if script.revision not in done
    ]


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as err:
        raise DatabaseInvalidError(
            f"{url}: not a database URL such as sqlite:///server.sqlite."
        ) from err


def _sqlite(address: URL) -> Engine:
    engine = create_engine(
        address,
        hide_parameters=True,
        connect_args={"timeout": float(address.query.get("timeout", _BUSY_S))},  # type: ignore[arg-type]
    )

    @event.listens_for(engine, "do_connect")
    def protect(*_: object) -> None:
        if address.database and address.database != ":memory:":
            _make_private(Path(address.database))

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions too late
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",  # erased events are overwritten with zeros
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        how = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def _make_private(path: Path) -> None:
    """Make a SQLite file and its logs readable by their owner only, with any umask.

    SQLite gives the logs the mode of the file; files of an earlier version may be readable by
    others. This never opens an existing file: closing it would drop SQLite's locks in this process,
    and another process could then delete the log that is in use (sqlite.org/howtocorrupt.html,
    2.2).
    """
    with suppress(OSError):  # SQLite reports the error when it opens the file
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        with suppress(FileNotFoundError, PermissionError):  # a reader need not be the owner
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                file.chmod(0o600)


@contextmanager
def _wrapped(engine: Engine) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as err:
        cause = getattr(err, "orig", None) or err
        raise DatabaseInvalidError(f"{engine.url}: {str(cause).strip()}") from err
