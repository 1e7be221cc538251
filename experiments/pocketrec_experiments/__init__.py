"""Experiments: which of two arms is better for users, and what another policy would have earned.

In: exported events and the signed experiments of a channel. Out: a report with a verdict.
Read in this order: statistics/, analysis/, monitoring/, off_policy/. Rule of the room: statistics/
needs numpy only, because the server uses it; Ibis and tea-tasting are imported in the others.
"""
