"""`pocketrec policy-value`: replay logged requests with a bundle and evaluate it on their rewards.

In: a bundle, exported events. Out: the estimates of `pocketrec_experiments.off_policy`.
Reading order: query_policy.py, rows.py, replay.py, value.py, table.py.
"""
