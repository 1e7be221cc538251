"""From exported events to the report of an experiment (Ibis on DuckDB, tea-tasting).

In: a folder of `pocketrec events export` and the signed experiments. Out: a report.
"""
