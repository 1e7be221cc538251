"""The sync_server room."""
