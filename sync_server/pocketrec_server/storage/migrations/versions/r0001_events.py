"""The first tables: one table of events. Databases older than the migrations have it."""

import sqlalchemy as sa
from alembic import op

revision = "0001_events"
down_revision = None


def upgrade() -> None:
    """Make the table where it is missing."""
    op.create_table(
        "event",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("install_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("item_id", sa.String(256), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="event_pkey"),  # as PostgreSQL named it by itself
        if_not_exists=True,
    )
    op.create_index("ix_event_ts", "event", ["ts"], if_not_exists=True)
