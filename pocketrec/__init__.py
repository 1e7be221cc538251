"""Command line of PocketRec."""
