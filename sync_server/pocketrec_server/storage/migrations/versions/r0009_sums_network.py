"""Add the networks of sums."""

import sqlalchemy as sa
from alembic import op

revision = "0009_sums_network"
down_revision = "0008_guardrails"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sums_network",
        sa.Column(
            "id",
            sa.String(32),
            sa.ForeignKey("experiment_sums.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("subject", sa.String(64), nullable=False, index=True),
        sa.Column("network", sa.String(32), nullable=False),
    )
