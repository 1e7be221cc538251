"""Add outcomes of releases: counts by day and at the last halt, and ids of counted outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0003_outcomes"
down_revision = "0002_uploads"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "outcome_day",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("manifest", sa.String(64), primary_key=True),
        sa.Column("outcome", sa.String(32), primary_key=True),
        sa.Column("devices", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "halt_mark",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("manifest", sa.String(64), primary_key=True),
        sa.Column("outcome", sa.String(32), primary_key=True),
        sa.Column("devices", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "outcome_seen",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("day", sa.Integer, nullable=False, index=True),
    )
