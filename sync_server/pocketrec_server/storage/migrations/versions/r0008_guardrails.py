"""Add exposed devices by network, and the daily looks at guardrails."""

import sqlalchemy as sa
from alembic import op

revision = "0008_guardrails"
down_revision = "0007_sums"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "exposed",
        sa.Column(
            "install",
            sa.Integer,
            sa.ForeignKey("install.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("subject", sa.String(64), primary_key=True, index=True),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("network", sa.String(32), nullable=False),
        sa.Column("exposed_utc", sa.BigInteger, nullable=False),
        sa.Column("forced", sa.Integer, nullable=False),
    )
    op.create_table(
        "guard_day",
        sa.Column("subject", sa.String(160), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("claimed_utc", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
    )
    op.create_table(
        "guard_look",
        sa.Column("subject", sa.String(160), primary_key=True),
        sa.Column("arm", sa.String(64), primary_key=True),
        sa.Column("guardrail", sa.String(64), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("networks", sa.Integer, nullable=False),
        sa.Column("control", sa.Float, nullable=False),
        sa.Column("treatment", sa.Float, nullable=False),
        sa.Column("information", sa.Float, nullable=False),
        sa.Column("z", sa.Float, nullable=False),
        sa.Column("bound", sa.Float, nullable=False),
        sa.Column("broken", sa.Integer, nullable=False),
        sa.Column("halted_utc", sa.BigInteger),
    )
