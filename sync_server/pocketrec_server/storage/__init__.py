"""Storage: the server's database.

In: a URL. Out: tables in SQLite or PostgreSQL.
Read in this order: tables.py, database.py, migrations/.
"""
