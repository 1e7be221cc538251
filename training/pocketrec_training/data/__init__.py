"""Data: two tables become arrays.

In: the tables of `reading/`. Out: canonical Parquet tables, then a `Dataset`.
Read in this order: columns.py; ingest.py with report.py, cleaned.py, clean.py, times/,
fields/, joins.py and quarantine.py; dataset.py with folds.py, splits/; then features/.
sources.py finds the files, known_sets.py converts public data sets.
"""
