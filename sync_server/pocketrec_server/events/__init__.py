"""Events: store the uploads of devices, and export them as Parquet.

In: batches of events over HTTP. Out: rows in the database, Parquet files per day.
Reading order: routes.py, uploads.py, validation.py, rate_limit.py, quotas.py, ingest.py, then
export_tables.py, export.py, stats.py, erasure.py.
"""
