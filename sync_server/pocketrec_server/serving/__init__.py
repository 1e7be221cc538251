"""How the server runs: the lines of its start, waitress, and several of it on one address."""
