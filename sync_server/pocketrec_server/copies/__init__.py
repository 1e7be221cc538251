"""Copies: mirrors and backups.

In: a repository and its database. Out: a mirror (folder or bucket), or one signed backup file.
Reading order: inventory.py, mirror.py with bucket.py, seal.py, backup.py, restore.py.
"""
