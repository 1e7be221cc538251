"""Tables of the server's database. `migrations/` creates them; a test compares both.

To change the schema, change the table here and add a file in `migrations/versions/`. PostgreSQL
refuses a text that is longer than its column, SQLite stores it: a column must hold the longest text
that the checks before it accept. `test_experiment_rows.py` stores such texts on both.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# A device that has sent something. Instants are unix seconds, days are days since 1970-01-01 (UTC).
# tokens: uploads left in its bucket at `tokens_utc`; quota_used: events stored on `quota_day`.
INSTALL = Table(
    "install",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("install_id", String(64), nullable=False, unique=True),
    Column("first_utc", BigInteger, nullable=False),
    Column("last_utc", BigInteger, nullable=False),
    Column("tokens", Float, nullable=False),
    Column("tokens_utc", Float, nullable=False),
    Column("quota_day", Integer, nullable=False),
    Column("quota_used", Integer, nullable=False),
)


def _of_install() -> Column[int]:
    """Return the foreign key of an install; deleting the install deletes its rows."""
    key = ForeignKey("install.number", ondelete="CASCADE")
    return Column("install", Integer, key, primary_key=True)


# The key begins with the install: no install can take the id of another's event.
EVENT = Table(
    "event",
    METADATA,
    _of_install(),
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("item_id", String(256), nullable=False),
    Column("event", String(64), nullable=False),
    Column("value", Float),
    Column("ts", BigInteger, nullable=False, index=True),
    Column("context", Text, nullable=False),
)

# A batch that was answered: digest is the SHA-256 of its events, rejected the rows as JSON.
UPLOAD = Table(
    "upload",
    METADATA,
    _of_install(),
    Column("batch", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("rejected", Text, nullable=False),
    Column("received_utc", BigInteger, nullable=False),
)

# By the events' own day: how many there are, and how often the day has changed (for exports).
EVENT_DAY = Table(
    "event_day",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
)

# Events that all installs together, or those of one network, have sent in the present window.
# scope: "all" or a keyed hash of the network; rows of past windows are deleted.
EVENT_QUOTA = Table(
    "event_quota",
    METADATA,
    Column("scope", String(64), primary_key=True),
    Column("ends_utc", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
)

# By the day of the upload: how many events were rejected, and why.
REJECTED_DAY = Table(
    "rejected_day",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("reason", String(128), primary_key=True),
    Column("events", BigInteger, nullable=False),
)

# Outcomes of releases on devices, by the day of the report.
OUTCOME_DAY = Table(
    "outcome_day",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("channel", String(32), primary_key=True),
    Column("manifest", String(64), primary_key=True),
    Column("outcome", String(32), primary_key=True),
    Column("devices", BigInteger, nullable=False),
)

# Outcomes by hour (unix seconds / 3600) and network, for the circuit breaker. `network` is a keyed
# hash; its key belongs to one release and is deleted after some weeks.
OUTCOME_NETWORK = Table(
    "outcome_network",
    METADATA,
    Column("channel", String(32), primary_key=True),
    Column("manifest", String(64), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("network", String(32), primary_key=True),
    Column("installed", Integer, nullable=False),
    Column("self_test_failed", Integer, nullable=False),
    Column("reverted", Integer, nullable=False),
    Column("download_failed", Integer, nullable=False),
)

# Keys of these hashes, and the hour in which each was made. "" and "": that of `outcome_quota`.
OUTCOME_KEY = Table(
    "outcome_key",
    METADATA,
    Column("channel", String(32), primary_key=True),
    Column("manifest", String(64), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("hour", Integer, nullable=False),
)

# How many outcomes a network has reported on a day; `network` is a keyed hash.
OUTCOME_QUOTA = Table(
    "outcome_quota",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("network", String(32), primary_key=True),
    Column("outcomes", Integer, nullable=False),
)

# Ids of outcomes that were counted, so that one that comes again is not.
OUTCOME_SEEN = Table(
    "outcome_seen",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("day", Integer, nullable=False, index=True),
)

# Sums of an experiment from one device: `id` is the device's random id for the experiment, `seq`
# the number of its newest body, `body` the rest of it, `until_utc` the experiment's planned end.
EXPERIMENT_SUMS = Table(
    "experiment_sums",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("channel", String(32), nullable=False),
    Column("experiment", String(32), nullable=False, index=True),
    Column("salt", String(32), nullable=False),
    Column("arm", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("received_utc", BigInteger, nullable=False),
    Column("until_utc", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

# The network that first sent some sums, for guardrails: a keyed hash, as in `exposed`.
SUMS_NETWORK = Table(
    "sums_network",
    METADATA,
    Column(
        "id",
        String(32),
        ForeignKey("experiment_sums.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("subject", String(64), nullable=False, index=True),
    Column("network", String(32), nullable=False),
)

# What was shown of an experiment on a day: figures of many devices, as JSON, with their noise.
SUMS_RELEASE = Table(
    "sums_release",
    METADATA,
    Column("channel", String(32), primary_key=True),
    Column("experiment", String(32), primary_key=True),
    Column("salt", String(32), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
)

# Values that are created once for a database, such as the salt of exported ids.
SETTING = Table(
    "setting",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# Operators' tokens: `sha256` is the hash of the token, which is not stored.
ADMIN_TOKEN = Table(
    "admin_token",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scope", String(16), nullable=False),
    Column("created_utc", BigInteger, nullable=False),
    Column("expires_utc", BigInteger, nullable=False),
    Column("revoked_utc", BigInteger),
)

# Browser sessions: `sha256` is the hash of the session's id, which only the browser has.
ADMIN_SESSION = Table(
    "admin_session",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("token_id", String(16), nullable=False, index=True),
    Column("created_utc", BigInteger, nullable=False),
    Column("seen_utc", BigInteger, nullable=False),
)

# Actions and their actors: a row is written before the action, its outcome afterwards.
AUDIT = Table(
    "audit",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("at_utc", BigInteger, nullable=False, index=True),
    Column("token_id", String(16)),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("details", Text, nullable=False),
    Column("outcome", String(256), nullable=False),
)

# Sent bytes by day and kind of file, and the bytes that whole files would have taken.
SERVED_DAY = Table(
    "served_day",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("full_bytes", BigInteger, nullable=False),
)

# Entries of the attention line that were notified: `ended_utc` is NULL while one is open. `key`:
# kind, channel, manifest and level.
NOTICE = Table(
    "notice",
    METADATA,
    Column("key", String(192), primary_key=True),
    Column("text", Text, nullable=False),
    Column("began_utc", BigInteger, nullable=False),
    Column("seen_utc", BigInteger, nullable=False),
    Column("ended_utc", BigInteger),
)

# Messages to send, or sent: `message` is JSON, `next_utc` the time of the next or the last try.
DELIVERY = Table(
    "delivery",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("at_utc", BigInteger, nullable=False),
    Column("transport", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_utc", BigInteger, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("error", Text, nullable=False),
)

# Devices that guardrails compare, the first report of each. subject: experiment and the first
# digits of its salt; or channel, release, begin and share of a stage of a rollout (without `arm`).
# network: keyed hash of the network that sent it, another key for each subject.
EXPOSED = Table(
    "exposed",
    METADATA,
    _of_install(),
    Column("subject", String(64), primary_key=True, index=True),
    Column("arm", String(64), nullable=False),
    Column("network", String(32), nullable=False),
    Column("exposed_utc", BigInteger, nullable=False),
    Column("forced", Integer, nullable=False),
)

# The daily look at a subject's guardrails: one server claims it and sets `done`.
# subject: channel, experiment and salt.
GUARD_DAY = Table(
    "guard_day",
    METADATA,
    Column("subject", String(160), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("claimed_utc", BigInteger, nullable=False),
    Column("done", Integer, nullable=False),
)

# What a look found at one guardrail of one arm. `halted_utc`: when the arm was halted for it.
GUARD_LOOK = Table(
    "guard_look",
    METADATA,
    Column("subject", String(160), primary_key=True),
    Column("arm", String(64), primary_key=True),
    Column("guardrail", String(64), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("networks", Integer, nullable=False),
    Column("control", Float, nullable=False),
    Column("treatment", Float, nullable=False),
    Column("information", Float, nullable=False),
    Column("z", Float, nullable=False),
    Column("bound", Float, nullable=False),
    Column("broken", Integer, nullable=False),
    Column("halted_utc", BigInteger),
)
