"""Add browser sessions, and event quotas of networks and of all installs."""

import sqlalchemy as sa
from alembic import op

revision = "0005_sessions"
down_revision = "0004_admin"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "admin_session",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("token_id", sa.String(16), nullable=False, index=True),
        sa.Column("created_utc", sa.BigInteger, nullable=False),
        sa.Column("seen_utc", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "event_quota",
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("ends_utc", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
