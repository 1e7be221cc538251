"""Storage: the server's database.

In: a URL. Out: tables in SQLite or PostgreSQL.
Reading order: tables.py, database.py, migrations/.
"""
