"""Add operators' tokens, the audit log, and bytes served by day."""

import sqlalchemy as sa
from alembic import op

revision = "0004_admin"
down_revision = "0002_uploads"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "admin_token",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_utc", sa.BigInteger, nullable=False),
        sa.Column("expires_utc", sa.BigInteger, nullable=False),
        sa.Column("revoked_utc", sa.BigInteger),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at_utc", sa.BigInteger, nullable=False, index=True),
        sa.Column("token_id", sa.String(16)),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(256), nullable=False),
    )
    op.create_table(
        "served_day",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("full_bytes", sa.BigInteger, nullable=False),
    )
