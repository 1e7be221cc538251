"""Commands on a repository of signed releases."""
