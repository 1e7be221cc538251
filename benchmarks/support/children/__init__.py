"""Child processes of the benchmarks, run as `python -m`."""
