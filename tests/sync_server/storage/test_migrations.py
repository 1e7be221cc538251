"""Each migration keeps the rows of the tables before it, on SQLite and on PostgreSQL."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, func, select

from pocketrec_server.storage import database
from pocketrec_server.storage.database import connect, upgrade, writing
from pocketrec_server.storage.tables import METADATA


def filled(table, number):
    """A row of any table, without the columns that may be null."""
    values = {}
    for column in table.columns:
        if not column.nullable:
            is_text = column.type.python_type is str
            values[column.name] = "1" if is_text else number
    return values


@pytest.fixture
def bare(empty_url):
    """A database without a table."""
    engine = connect(empty_url)
    yield engine
    engine.dispose()


def test_each_migration_keeps_the_rows_of_the_tables_before_it(bare):
    scripts = ScriptDirectory(str(database._MIGRATIONS))
    revisions = [one.revision for one in reversed(list(scripts.walk_revisions()))]
    kept = set()
    for revision in revisions:
        with writing(bare) as connection:
            config = Config()
            config.set_main_option("script_location", str(database._MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            there = MetaData()
            there.reflect(connection)
            for table in there.sorted_tables:
                if not connection.scalar(select(func.count()).select_from(table)):
                    connection.execute(table.insert(), filled(table, 1))
                kept.add(table.name)
    kept -= {"alembic_version", "halt_mark"}  # the second is dropped by 0005_outcome_networks
    assert upgrade(bare) == []
    with bare.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        rows = {
            name: connection.scalar(select(func.count()).select_from(METADATA.tables[name]))
            for name in METADATA.tables
        }
    assert kept == set(rows)
    assert rows == dict.fromkeys(rows, 1)
