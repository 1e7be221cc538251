"""Releases: what is installed, whether it works here, and rollback.

In: verified files. Out: the active release.
Read in this order: store.py, selftest.py, crash_loop.py, blocklist.py,
integrity_check.py; then verify.py with parity.py and stages.py; set_test.py tests a model set.
"""
