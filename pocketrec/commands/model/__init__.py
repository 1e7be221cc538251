"""Commands on tables, runs and bundles."""
