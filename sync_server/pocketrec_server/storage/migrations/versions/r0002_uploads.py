"""Add installs with quota and rate limit, answered uploads, and counts by day.

Events become rows of their install; all events are kept.
"""

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0002_uploads"
down_revision = "0001_events"


def upgrade() -> None:
    """Make the tables and move the events over."""
    op.create_table(
        "install",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("install_id", sa.String(64), nullable=False, unique=True),
        sa.Column("first_utc", sa.BigInteger, nullable=False),
        sa.Column("last_utc", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.Float, nullable=False),
        sa.Column("tokens_utc", sa.Float, nullable=False),
        sa.Column("quota_day", sa.Integer, nullable=False),
        sa.Column("quota_used", sa.Integer, nullable=False),
    )
    op.drop_index("ix_event_ts", "event")
    op.rename_table("event", "event_0001")
    op.create_table(
        "event",
        _install(),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("item_id", sa.String(256), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("ts", sa.BigInteger, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
    )
    op.create_table(
        "upload",
        _install(),
        sa.Column("batch", sa.String(36), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("rejected", sa.Text, nullable=False),
        sa.Column("received_utc", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "event_day",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rejected_day",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.String(128), primary_key=True),
        sa.Column("events", sa.BigInteger, nullable=False),
    )
    setting = op.create_table(
        "setting",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(setting, [{"name": "salt", "value": secrets.token_hex(32)}])
    _move()
    op.drop_table("event_0001")
    op.create_index("ix_event_ts", "event", ["ts"])


def _install() -> sa.Column[int]:
    key = sa.ForeignKey("install.number", ondelete="CASCADE")
    return sa.Column("install", sa.Integer, key, primary_key=True)


def _move() -> None:
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "INSERT INTO install (install_id, first_utc, last_utc, tokens, tokens_utc, quota_day,"
            " quota_used) SELECT DISTINCT install_id, :now, :now, 0, 0, 0, 0 FROM event_0001"
            " ORDER BY install_id"
        ).bindparams(sa.bindparam("now", int(time.time()), sa.BigInteger))
    )
    connection.execute(
        sa.text(
            "INSERT INTO event SELECT number, id, kind, item_id, event, value, ts, context"
            " FROM event_0001 JOIN install USING (install_id)"
        )
    )
    connection.execute(
        sa.text(
            "INSERT INTO event_day SELECT ts / 86400, COUNT(*), 1 FROM event GROUP BY ts / 86400"
        )
    )
