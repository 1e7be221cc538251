"""Repository: signed releases on disk (TUF). No Flask, no SQL.

In: bundles, signing keys. Out: signed metadata, and files under their hashes.
Reading order: roles.py, keys.py, proof.py, state.py, channel.py, publish.py with place.py,
publishable.py, blobs.py and deltas.py; rollout.py, halts.py; renewal.py, rotation.py,
pruning.py; history.py with policy_changes.py; channel_status.py with standing.py and expiry.py.
"""
