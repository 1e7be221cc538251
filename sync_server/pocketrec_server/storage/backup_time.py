"""The time of the last backup, in the database, so that an old backup can raise an alert."""

from sqlalchemy import Connection, Engine, select

from pocketrec_server.storage.database import dialect_of, writing
from pocketrec_server.storage.tables import SETTING

_NAME = "backup_utc"


def note_backup(engine: Engine, now_utc: int) -> None:
    """Store the time of a complete backup, unix seconds.

    Raises:
        SQLAlchemyError: the database failed.
    """
    with writing(engine) as connection:
        insert = dialect_of(connection).insert(SETTING)
        insert = insert.values(name=_NAME, value=str(now_utc))
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["name"], set_={"value": insert.excluded.value}
            )
        )


def last_backup(connection: Connection) -> int:
    """Return the time of the last backup, unix seconds; 0 if there is none."""
    query = select(SETTING.c.value).where(SETTING.c.name == _NAME)
    return int(connection.scalar(query) or 0)
