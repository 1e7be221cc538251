"""Add sums of experiments, and their releases."""

import sqlalchemy as sa
from alembic import op

revision = "0007_sums"
down_revision = "0006_notifications"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "experiment_sums",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("experiment", sa.String(32), nullable=False, index=True),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("received_utc", sa.BigInteger, nullable=False),
        sa.Column("until_utc", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "sums_release",
        sa.Column("channel", sa.String(32), primary_key=True),
        sa.Column("experiment", sa.String(32), primary_key=True),
        sa.Column("salt", sa.String(32), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
    )
