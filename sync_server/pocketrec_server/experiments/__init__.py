"""Start, change and end the experiments of a channel, signed by the channel's key; halt arms.

In: an experiment as plain values, and the channel. Out: `channels/CHANNEL/experiments.json`.
halted_arms.py: `halts/CHANNEL.experiments.json`, signed by the brake. Read in this order: plan.py,
changes.py, checks.py, facts.py, signing.py, results.py, halted_arms.py. Rule: plan.py, changes.py
and facts.py do no I/O; the devices assign themselves.
"""
