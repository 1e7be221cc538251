"""Alembic entry point: run the pending migrations on the connection of `database.upgrade`."""

from alembic import context

from pocketrec_server.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
