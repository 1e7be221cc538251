"""The table of the demo, and its verdict."""
