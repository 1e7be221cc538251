"""Commands of a server: run it, its database, backups, people."""
