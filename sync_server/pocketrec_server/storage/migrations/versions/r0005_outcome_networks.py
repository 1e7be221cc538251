"""Add outcomes by network for the circuit breaker; drop the counts at the last halt."""

import sqlalchemy as sa
from alembic import op

revision = "0005_outcome_networks"
down_revision = "0003_outcomes"


def upgrade() -> None:
    """Make the tables; until outcomes arrive, nothing is known of any network."""
    op.create_table(
        "outcome_key",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("manifest", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("hour", sa.Integer, nullable=False),
    )
    op.create_table(
        "outcome_network",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("manifest", sa.String(64), primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("network", sa.String(32), primary_key=True),
        sa.Column("installed", sa.Integer, nullable=False),
        sa.Column("self_test_failed", sa.Integer, nullable=False),
        sa.Column("reverted", sa.Integer, nullable=False),
        sa.Column("download_failed", sa.Integer, nullable=False),
    )
    op.create_table(
        "outcome_quota",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("network", sa.String(32), primary_key=True),
        sa.Column("outcomes", sa.Integer, nullable=False),
    )
    op.drop_table("halt_mark")
