"""Steps from each layout of the database to the next (Alembic), oldest first in `versions/`.

`pocketrec_server.storage.database` runs them, in one transaction. A step is never edited once
released. It spells its tables out: `tables.py` says what they are today, not what they were then.
"""
