"""Open the server's database by URL: SQLite in WAL mode by default, PostgreSQL for many servers.

A SQLite file is made and upgraded when it is opened, and only its owner may read it. A PostgreSQL
database is upgraded on purpose only (`pocketrec db upgrade`), since other servers may be using it.
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

FILE_NAME = "server.sqlite"  # in the repository
_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 5.0
_CONNECT_S = 5
_UPGRADE_LOCK = 0x706F636B  # of pg_advisory_xact_lock; any number that nothing else takes


def default_url(repo: Path) -> str:
    """Return the URL of the database beside a repository."""
    return f"sqlite:///{repo.resolve() / FILE_NAME}"


def open_database(url: str) -> Engine:
    """Open a database whose tables are the present ones.

    Args:
        url: as sqlite:////srv/server.sqlite or postgresql://user:password@host/name.

    Raises:
        DatabaseInvalidError: it cannot be opened, is to be upgraded first, or is of a newer
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
    """Whether there is a database to connect to; False only for a SQLite file that is not there.

    Raises:
        DatabaseInvalidError: the URL is none.
    """
    address = _parsed(url)
    return address.get_backend_name() != "sqlite" or Path(address.database or "").is_file()


def connect(url: str) -> Engine:
    """Return an engine over a database as it is.

    Raises:
        DatabaseInvalidError: the URL is none, or names a database that PocketRec does not know.
    """
    address = _parsed(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite(address)
    if address.get_backend_name() == "postgresql":
        # A server that was restarted left dead connections in the pool: each is tried first.
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
    """Open a transaction that will write; on SQLite it waits here for the lock, not half-way."""
    with engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a transaction whose reads all see the database as of one moment."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def scrub(engine: Engine) -> None:
    """Leave nothing of deleted rows in a SQLite WAL; while another reads, it stays a while."""
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def dialect_of(connection: Connection) -> ModuleType:
    """Return SQLAlchemy's module with the `insert` that knows conflicts."""
    return postgresql if connection.dialect.name == "postgresql" else sqlite


def pending(engine: Engine) -> list[str]:
    """Return the names of the migrations that were not applied, oldest first.

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
        if names := _pending(connection):  # none, where another process was faster
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
            f"{url}: not a database URL, as sqlite:///server.sqlite."
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
        connection.isolation_level = None  # the driver would begin late, and not for tables
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
    """Make a SQLite file and its logs readable by their owner only, whatever the umask is.

    SQLite gives the logs the mode of the file; those of an earlier version may be open to others.
    A file that is there is never opened here: closing it would drop the locks that SQLite holds on
    it in this process, and another process would then delete the log that is being written to
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(OSError):  # what cannot be made is reported when SQLite opens it
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        with suppress(FileNotFoundError, PermissionError):  # a reader need not be the owner
            if stat.S_IMODE(each.stat().st_mode) & 0o077:
                each.chmod(0o600)


@contextmanager
def _wrapped(engine: Engine) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as err:
        found = getattr(err, "orig", None) or err
        raise DatabaseInvalidError(f"{engine.url}: {str(found).strip()}") from err
