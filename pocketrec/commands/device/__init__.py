"""Commands of a phone."""
