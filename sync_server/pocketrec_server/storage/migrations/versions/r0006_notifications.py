"""Add notices and their deliveries by webhook and e-mail."""

import sqlalchemy as sa
from alembic import op

revision = "0006_notifications"
down_revision = "0005_sessions"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "notice",
        sa.Column("key", sa.String(192), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("began_utc", sa.BigInteger, nullable=False),
        sa.Column("seen_utc", sa.BigInteger, nullable=False),
        sa.Column("ended_utc", sa.BigInteger),
    )
    op.create_table(
        "delivery",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at_utc", sa.BigInteger, nullable=False),
        sa.Column("transport", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_utc", sa.BigInteger, nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
