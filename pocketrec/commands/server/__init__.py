"""Commands of a server: run it, and manage its database, backups and tokens."""
