"""Commands of signed experiments."""
