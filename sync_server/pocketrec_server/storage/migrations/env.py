"""What Alembic runs: the pending steps on the connection that `database.upgrade` opened."""

from alembic import context

from pocketrec_server.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
