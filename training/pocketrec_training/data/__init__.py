"""Data: two tables become arrays.

In: the tables of `reading/`. Out: canonical Parquet tables, then a `Dataset`.
Read in this order: columns.py; ingest.py with cleaned.py, clean.py, time_rule.py, item_fields.py,
joins.py and quarantine.py; dataset.py, split_check.py; then point_in_time.py and
offline_features.py. sources.py fetches public data sets.
"""
