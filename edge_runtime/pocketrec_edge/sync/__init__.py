"""Sync: fetch the release that the policy chooses. The only folder that opens sockets.

In: the address of a server, a pinned root. Out: an installed release, uploaded events.
Read in this order: client.py, metadata.py, policy.py with rollout.py and conditions.py,
install.py, arm_models.py, files.py with transfer.py and http.py, sync_log.py, uploads/, watch.py
with hints.py and wake.py.
"""
