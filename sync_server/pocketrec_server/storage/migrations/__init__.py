"""Migrations of the database (Alembic), oldest first in `versions/`.

`pocketrec_server.storage.database` runs them in one transaction. A released migration is never
edited. It defines its tables itself, because `tables.py` only has the current ones.
"""
